"""`--device auto|cpu|cuda`."""

import torch

from common.errors import BadInputError

CHOICES = ("auto", "cpu", "cuda")


def pick_device(choice: str) -> str:
    """`auto` is the GPU where there is one. Raises BadInputError when `cuda` is asked for and absent."""
    if choice == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if choice == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device cuda: torch sees no GPU here")
    return choice
