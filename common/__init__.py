"""What every other folder may import: errors, atomic writes, the DFDC folder tree, worker processes.

It imports no other folder.
"""

import gc
import sys
from types import TracebackType

# Imports make a million objects that stay. By default the garbage collector runs after every 700 new objects: this is
# 1 s of the 3.5 s that importing torch takes.
gc.set_threshold(50_000, 50, 50)

FULL = ("torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib", "onnx", "pydantic", "yaml", "tensorboard")


def say_what_is_missing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in a sentence that a command needs a package which only the full environment has."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in FULL:
        what = f"this needs {error.name}, which is not in this environment"
        print(f"{what}: use .venv/bin/python, which `make demo` sets up", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # a command of ours is about to be imported, not a program that uses this as a library
    sys.excepthook = say_what_is_missing
