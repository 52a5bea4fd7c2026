"""A shipped member as a detector in DeepfakeBench's registry (Yan et al., NeurIPS 2023), for its test.py to measure.

In its repository, with this one on PYTHONPATH:

    echo "import quality.adapters.deepfakebench" >> training/detectors/__init__.py
    # and in a config: model_name: robustforensics, member: lite2, resolution: 256, mean and std [0.5, 0.5, 0.5]
    python training/test.py --detector_path CONFIG --test_dataset Celeb-DF-v2 --weights_path ""

The weights are this repository's, so the harness must not load any. The harness builds the class with its config, calls
it with `data_dict["image"]`, normalised RGB [B, 3, H, W], and reads `cls`, `prob` and `feat` of the result; `prob` is
the probability of FAKE. Its crops are tight like those that the member was trained on, so the member sees whole crops.
"""

from typing import Any

import numpy as np
import torch
from detectors import DETECTOR  # type: ignore[import-not-found]  # DeepfakeBench's own registry
from torch import Tensor, nn

from common.errors import BadInputError
from common.files import ROOT
from common.images import resize
from inference.members import KNOWN, MODELS
from inference.networks.torch_networks import load_member
from training.inputs import to_input


@DETECTOR.register_module(module_name="robustforensics")
class RobustForensics(nn.Module):
    """An image member that takes DeepfakeBench's batches. It is for testing; trainings are this repository's."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Load `config["member"]` (default: lite2). Raises BadInputError if it is unknown or not an image member."""
        super().__init__()
        name = config.get("member", "lite2")
        if name not in KNOWN or KNOWN[name].branch != "image":
            image_members = ", ".join(known for known, member in KNOWN.items() if member.branch == "image")
            raise BadInputError(f"{name} is not one of the image members {image_members}")
        self.member = KNOWN[name]
        self.network = load_member(self.member, ROOT / MODELS)
        self.mean, self.std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    @torch.inference_mode()
    def forward(self, data_dict: dict[str, Tensor], inference: bool = False) -> dict[str, Tensor]:
        """`cls` (logits) [B, 2], `prob` [B] in [0, 1], and `feat` [B, 2], the same as `cls`: there is one output.

        `data_dict["image"]` is normalised RGB [B, 3, H, W].
        """
        batch = data_dict["image"]
        levels = (255 * (batch.float().cpu() * self.std + self.mean)).round().clamp(0, 255)
        pixels = levels.to(torch.uint8).movedim(1, -1).numpy()
        crops = np.stack([resize(np.ascontiguousarray(crop), self.member.size) for crop in pixels])  # as in training
        images = to_input(torch.from_numpy(crops).to(batch.device), self.member.color, *self.member.normalisation)
        logits = self.network(images)
        if self.member.flip:
            logits = (logits + self.network(images.flip(-1))) / 2
        return {"cls": logits, "prob": logits.softmax(dim=1)[:, 1], "feat": logits}
