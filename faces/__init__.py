"""Where is the face? Decoding, the RetinaFace detector, boxes, tracking and crops; all pure but for `video` (files)."""
