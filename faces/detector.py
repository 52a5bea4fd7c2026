"""From frames to face boxes with RetinaFace (reference, section 1).

On the CPU the network runs in ONNX Runtime. This is twice as fast as PyTorch, and a worker starts in 0.3 s with 100 MB,
not in 4 s with 800 MB (benchmarks/preprocess.py). On a GPU the network is `faces.retinaface` in PyTorch. The numpy code
before and after the network is the same.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from common.cache import cached
from common.files import from_root, sha256
from common.onnx_session import load_session, run_session

SHORT_SIDE, LONGEST_SIDE = 400, 2150
MEAN_BGR = (104.0, 117.0, 123.0)
MIN_SIZES, STEPS = ((16, 32), (64, 128), (256, 512)), (8, 16, 32)
CENTRE_VARIANCE, SIZE_VARIANCE = np.float32(0.1), np.float32(0.2)
MIN_SCORE, NMS_IOU = 0.02, 0.4
REFERENCE_FILE, REGISTRY_FILE = "mobilenet0.25_Final.pth", "retinaface_mobilenet0.25.onnx"
GPU_BATCH = 32

# Images float32 [B, 3, H, W] (BGR minus mean)
# -> offsets [B, P, 4], face probability [B, P], landmark offsets [B, P, 10].
Network = Callable[[np.ndarray], Sequence[np.ndarray]]


class FaceDetector:
    """RetinaFace with its weights on a device. `detect` finds the faces in frames.

    Several threads may call it at once. On the CPU each call uses one core. `batch` is the number of frames that go
    through the network together. On the CPU it is 1: more is not faster, and a frame's boxes must not depend on others.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """Load `weights`: the registry's ONNX file or, strictly, a state dict whose names have no prefix.

        The first use of a state dict on the CPU converts it to ONNX by PyTorch, in some 15 s. Raises CheckpointError
        listing what does not match, or FileNotFoundError.
        """
        self.batch = 1 if device == "cpu" else GPU_BATCH
        self.network = _cpu_network(weights) if device == "cpu" else torch_network(weights, device)

    def detect(self, frames: Sequence[np.ndarray], scale: float = 1.0) -> list[np.ndarray]:
        """Find faces in frames, BGR uint8 [H, W, 3], all of one size -> detections of each frame, float32 [N, 5].

        A detection is x1, y1, x2, y2 in the frame's pixels and a score in (0.02, 1], best first. Two boxes of a frame
        have an IoU of at most 0.4. Corners are not clipped to the frame. The network sees the frames at `scale` times
        the reference's size: less is faster, and misses small faces.
        """
        return [boxes for boxes, _ in self.detect_with_landmarks(frames, scale)]

    def detect_with_landmarks(
        self, frames: Sequence[np.ndarray], scale: float = 1.0
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """As `detect`, with each box's landmarks, float32 [N, 5, 2]: x and y of eyes, nose and corners of the mouth."""
        ratio = scale * resize_ratio(*frames[0].shape[:2])
        if min(frames[0].shape[:2]) * ratio < 1:  # nothing would be left of the shorter side
            return [(np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)) for _ in frames]
        results = []
        for start in range(0, len(frames), self.batch):
            chunk = frames[start : start + self.batch]
            images = [cv2.resize(frame, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_LINEAR) for frame in chunk]
            outputs = self.network(cv2.dnn.blobFromImages(images, mean=MEAN_BGR))
            height, width = images[0].shape[:2]
            results += [
                select(offsets, scores, landmarks, height, width, ratio)
                for offsets, scores, landmarks in zip(*outputs, strict=True)
            ]
        return results


@lru_cache(maxsize=1)
def load_detector(weights: Path, device: str) -> FaceDetector:
    """The detector of this process, loaded once. Raises as `FaceDetector` does."""
    return FaceDetector(weights, device)


def resize_ratio(height: int, width: int) -> float:
    """The factor that brings the shorter side to 400, or the longer one to 2150 if it would exceed that."""
    ratio = SHORT_SIDE / min(height, width)
    if round(ratio * max(height, width)) > LONGEST_SIDE:
        ratio = LONGEST_SIDE / max(height, width)
    return ratio


@lru_cache(maxsize=8)
def priors_for(height: int, width: int) -> np.ndarray:
    """The prior boxes for a network input of this size: float32 [P, 4], (cx, cy, w, h) as fractions of the image.

    Their order is level, row, column, size. Their number follows from the real size of the input, so that every cell of
    the network's output has its priors.
    """
    levels = []
    for step, sizes in zip(STEPS, MIN_SIZES, strict=True):
        rows, columns = math.ceil(height / step), math.ceil(width / step)
        level = np.empty((rows, columns, len(sizes), 4))
        level[..., 0] = ((np.arange(columns) + 0.5) * step / width)[None, :, None]
        level[..., 1] = ((np.arange(rows) + 0.5) * step / height)[:, None, None]
        level[..., 2] = np.array(sizes) / width
        level[..., 3] = np.array(sizes) / height
        levels.append(level.reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def select(
    offsets: np.ndarray, scores: np.ndarray, landmark_offsets: np.ndarray, height: int, width: int, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """The network's outputs for one image -> detections [N, 5] and landmarks [N, 5, 2], float32, in the frame's pixels.

    The outputs are offsets [P, 4], scores [P] and landmark offsets [P, 10]. The image has the size height x width, and
    `ratio` is its size over the frame's.
    """
    kept = np.flatnonzero(scores > MIN_SCORE)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    centres, sizes = np.split(priors_for(height, width)[kept], 2, axis=1)
    scale = np.array([width, height], np.float32)
    middle = centres + offsets[kept, :2] * CENTRE_VARIANCE * sizes
    extent = sizes * np.exp(offsets[kept, 2:] * SIZE_VARIANCE)
    corners = np.concatenate([middle - extent / 2, middle + extent / 2], axis=1) * np.tile(scale, 2) / ratio
    points = landmark_offsets[kept].reshape(-1, 5, 2) * CENTRE_VARIANCE * sizes[:, None] + centres[:, None]
    best = suppress(corners)
    return np.concatenate([corners, scores[kept, None]], axis=1)[best], (points * scale / ratio)[best]


def suppress(boxes: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression, as torchvision.ops.nms: the rows of boxes [N, 4], best first, that are kept."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left, kept = np.arange(len(boxes)), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
        overlap = np.clip(sides, 0, None).prod(axis=1)
        left = left[overlap / (areas[best] + areas[left] - overlap) <= NMS_IOU]
    return kept


def default_weights(folder: Path = Path("inference/face_detect_ckpt")) -> Path:
    """The detector's weights: the reference's file if the user put it into `folder`, else the package registry's.

    The latter is in the cache if `folder` is read-only. Raises FileNotFoundError, which says how to get weights.
    """
    folder = from_root(folder)
    for name in (REFERENCE_FILE, REGISTRY_FILE):
        if (folder / name).is_file():
            return folder / name
    if (kept := cached(REGISTRY_FILE)).is_file():
        return kept
    raise FileNotFoundError(
        f"no detector weights in {folder}: run `python -m pretrain.retinaface`, "
        f"or put the reference's {REFERENCE_FILE} there"
    )


def _cpu_network(weights: Path) -> Network:
    """The network in ONNX Runtime, on one thread."""
    session = load_session(weights if weights.suffix == ".onnx" else _converted(weights), threads=1)
    (images_input,) = session.get_inputs()

    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        offsets, scores, landmarks = run_session(session, {images_input.name: images}, "the detector")
        return offsets, scores[..., 1] if scores.ndim == 3 else scores, landmarks  # the registry's has both classes

    return run


def _converted(weights: Path) -> Path:
    """The ONNX file of a state dict, made once and kept in the cache."""
    converted = cached(f"retinaface-{sha256(weights)[:16]}.onnx")
    if not converted.is_file():
        from faces.retinaface import export_onnx  # imports PyTorch, which takes seconds

        export_onnx(weights, converted)
    return converted


def torch_network(weights: Path, device: str) -> Network:
    """The network in PyTorch, as GPUs run it. Raises as `FaceDetector` does."""
    import torch

    from faces.retinaface import load_network

    network = load_network(weights).to(device)

    @torch.inference_mode()
    def run(images: np.ndarray) -> list[np.ndarray]:
        try:
            return [output.cpu().numpy() for output in network(torch.from_numpy(images).to(device))]
        except torch.OutOfMemoryError as error:
            raise MemoryError(f"the detector: {error}") from error

    return run
