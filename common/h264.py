"""Images after H.264 with libx264, in memory."""

import io
from collections.abc import Sequence

import av
import numpy as np


def encode_h264(images: Sequence[np.ndarray], crf: int) -> list[np.ndarray]:
    """Images of one size, BGR uint8 [H, W, 3], after H.264. An odd last row or column is cut off."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        height, width = (length // 2 * 2 for length in images[0].shape[:2])
        stream.pix_fmt, stream.height, stream.width = "yuv420p", height, width
        stream.codec_context.thread_count = 1
        for image in images:
            even = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
