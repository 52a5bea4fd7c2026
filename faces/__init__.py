"""Find the faces in a video: decoding, the RetinaFace detector, boxes, tracking, crops."""
