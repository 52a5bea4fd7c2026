"""`--device auto|cpu|cuda`."""

from pathlib import Path

from common.errors import BadInputError

CHOICES = ("auto", "cpu", "cuda")
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA's driver, Windows' Linux, AMD's driver


def pick_device(choice: str) -> str:
    """`auto` is the GPU where there is one. Raises BadInputError when `cuda` is asked for and absent.

    PyTorch, seconds to import, is asked only where it might say yes.
    """
    if choice == "cpu" or (choice == "auto" and not any(Path(file).exists() for file in GPU_FILES)):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice == "cuda":
        raise BadInputError("--device cuda: torch sees no GPU here")
    return "cpu"
