"""RetinaFace with a MobileNet-0.25 body (Deng et al., 2019; contract, section 1).

The body is ours; feature pyramid, SSH and heads are retinaface-pytorch's, whose names make all 300 of the reference's
`mobilenet0.25_Final.pth` match.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from retinaface.box_utils import decode, decode_landm
from retinaface.net import FPN, SSH, conv_bn, conv_dw
from retinaface.network import BboxHead, ClassHead, LandmarkHead
from retinaface.prior_box import priorbox
from torch import Tensor, nn
from torchvision.ops import nms

from common.weights import CheckpointError, load_dict

SHORT_SIDE, LONGEST_SIDE = 400, 2150
MEAN_BGR = (104.0, 117.0, 123.0)
MIN_SIZES, STEPS, VARIANCES = [[16, 32], [64, 128], [256, 512]], [8, 16, 32], [0.1, 0.2]
MIN_SCORE, NMS_IOU = 0.02, 0.4
REFERENCE_FILE, REGISTRY_FILE = "mobilenet0.25_Final.pth", "retinaface_mobilenet0.25.pth"


class MobileNetBody(nn.Module):
    """MobileNet v1 at a quarter of the width; returns the maps at strides 8, 16 and 32 (64, 128, 256 channels)."""

    def __init__(self) -> None:
        super().__init__()
        leaky = 0.1
        widths = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stage1 = nn.Sequential(conv_bn(3, 8, 2, leaky), *(conv_dw(*width, leaky) for width in widths))
        self.stage2 = nn.Sequential(conv_dw(64, 128, 2, leaky), *(conv_dw(128, 128, 1, leaky) for _ in range(5)))
        self.stage3 = nn.Sequential(conv_dw(128, 256, 2, leaky), conv_dw(256, 256, 1, leaky))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        stride8 = self.stage1(images)
        stride16 = self.stage2(stride8)
        return {"1": stride8, "2": stride16, "3": self.stage3(stride16)}


class RetinaFace(nn.Module):
    """Images [B, 3, H, W] (BGR minus mean) -> offsets [B, P, 4], face probability [B, P], landmark offsets [B, P, 10]."""

    def __init__(self) -> None:
        super().__init__()
        width, anchors = 64, 2
        self.body = MobileNetBody()
        self.fpn = FPN([64, 128, 256], width)
        self.ssh1, self.ssh2, self.ssh3 = (SSH(width, width) for _ in range(3))
        self.ClassHead = nn.ModuleList(ClassHead(width, anchors) for _ in range(3))
        self.BboxHead = nn.ModuleList(BboxHead(width, anchors) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(LandmarkHead(width, anchors) for _ in range(3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pyramid = self.fpn(self.body(images))
        features = [ssh(level) for ssh, level in zip((self.ssh1, self.ssh2, self.ssh3), pyramid, strict=True)]

        def all_levels(heads: nn.ModuleList) -> Tensor:
            return torch.cat([head(feature) for head, feature in zip(heads, features, strict=True)], dim=1)

        scores = all_levels(self.ClassHead).softmax(dim=-1)[..., 1]
        return all_levels(self.BboxHead), scores, all_levels(self.LandmarkHead)


def resize_ratio(height: int, width: int) -> float:
    """The factor that brings the shorter side to 400, or the longer one to 2150 where that would exceed it."""
    ratio = SHORT_SIDE / min(height, width)
    if round(ratio * max(height, width)) > LONGEST_SIDE:
        ratio = LONGEST_SIDE / max(height, width)
    return ratio


@lru_cache(maxsize=8)
def priors_for(height: int, width: int) -> Tensor:
    """The prior boxes [P, 4] (cx, cy, w, h as shares of the image) of a network input of that size."""
    return priorbox(MIN_SIZES, STEPS, clip=False, image_size=(height, width))


def default_weights(folder: Path = Path("inference/face_detect_ckpt")) -> Path:
    """The reference's own file if the user put it there, else the one made from the package registry.

    Raises FileNotFoundError saying how to get one.
    """
    for name in (REFERENCE_FILE, REGISTRY_FILE):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"no detector weights in {folder}: run `python -m pretrain.retinaface`, or put the reference's {REFERENCE_FILE} there"
    )


class FaceDetector:
    """RetinaFace with weights, on a device; `detect` takes frames and returns boxes in their own pixels."""

    def __init__(self, weights: Path, device: str | torch.device = "cpu") -> None:
        """Load `weights` strictly: a state dict without prefix. Raises CheckpointError listing what does not match."""
        self.device = torch.device(device)
        self.network = RetinaFace()
        try:
            self.network.load_state_dict(load_dict(weights))
        except RuntimeError as error:
            raise CheckpointError(f"{weights}: {error}") from error
        self.network.eval().to(self.device)

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Frames [H, W, 3] BGR uint8, all of one size -> per frame float32 [N, 5]: x1, y1, x2, y2, score, best first.

        Scores are above .02, overlaps at most an IoU of .4; corners are not clipped to the image.
        """
        return [boxes for boxes, _ in self.detect_with_landmarks(frames)]

    @torch.inference_mode()
    def detect_with_landmarks(self, frames: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """As `detect`, with the landmarks of each box, float32 [N, 5, 2]: eyes, nose, corners of the mouth, (x, y) each."""
        ratio = resize_ratio(*frames[0].shape[:2])
        resized = [cv2.resize(frame, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_LINEAR) for frame in frames]
        height, width = resized[0].shape[:2]
        images = torch.from_numpy(np.stack(resized)).to(self.device).permute(0, 3, 1, 2).float()
        images -= torch.tensor(MEAN_BGR, device=self.device).view(1, 3, 1, 1)
        offsets, scores, landmark_offsets = self.network(images)
        priors = priors_for(height, width).to(self.device)
        scale = torch.tensor([width, height], dtype=torch.float32, device=self.device)
        return [self._select(*image, priors, scale, ratio) for image in zip(offsets, scores, landmark_offsets, strict=True)]

    @staticmethod
    def _select(
        offsets: Tensor, scores: Tensor, landmark_offsets: Tensor, priors: Tensor, scale: Tensor, ratio: float
    ) -> tuple[np.ndarray, np.ndarray]:
        kept = scores > MIN_SCORE
        scores, priors = scores[kept], priors[kept]
        boxes = decode(offsets[kept], priors, VARIANCES) * scale.repeat(2) / ratio
        landmarks = decode_landm(landmark_offsets[kept], priors, VARIANCES) * scale.repeat(5) / ratio
        best = nms(boxes, scores, NMS_IOU)
        detections = torch.cat([boxes[best], scores[best, None]], dim=1)
        return detections.cpu().numpy(), landmarks[best].reshape(-1, 5, 2).cpu().numpy()
