"""What runs the members' networks: ONNX Runtime, without PyTorch and faster on a CPU, or PyTorch.

A member runs in ONNX Runtime if an ONNX file lies beside its checkpoint (`inference.networks.export` writes it). The
shipped members have theirs in the repository.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from common.errors import BadInputError
from common.memory import give_back_freed_memory
from common.workers import cores
from inference.members import Member
from inference.networks.batches import Networks

RUNTIMES = ("auto", "torch", "onnx")
# tf32: float32, but an NVIDIA GPU rounds the factors of products to ten bits; elsewhere the same as fp32.
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


def choose_runtime(
    choice: str, members: Mapping[str, Member], models: Path, device: str = "cpu", precision: str = "fp32"
) -> str:
    """`torch` or `onnx`; `auto` is ONNX Runtime on a CPU at float32 if it can run all members, else PyTorch.

    Raises BadInputError, saying what to do, if the choice cannot run.
    """
    without = [name for name, member in members.items() if not (models / member.onnx).is_file()]
    linked = links(members, models)
    fits = device == "cpu" and precision in ("fp32", "tf32")
    if choice == "auto":
        choice = "onnx" if fits and not without and not linked else "torch"
    if choice == "onnx" and not fits:
        raise BadInputError(f"--runtime onnx scores on the CPU at fp32, not on {device} at {precision}")
    if choice == "onnx" and without:
        raise BadInputError(
            f"no ONNX file of {', '.join(without)} in {models}: write it with `python -m inference.networks.export`, "
            "which needs PyTorch"
        )
    if choice == "onnx":
        refuse_links(members, models)
    if choice == "torch" and find_spec("torch") is None:
        needs = "this choice needs it"
        if without:
            needs = f"{', '.join(without)} have no ONNX file in {models}"
        elif linked:
            needs = f"ONNX Runtime does not follow links: {', '.join(linked)}"
        raise BadInputError(f"PyTorch is not installed, and {needs}: pip install -r requirements.txt")
    return choice


def links(members: Mapping[str, Member], models: Path) -> list[str]:
    """The checkpoints that are links to other folders, which ONNX Runtime does not follow."""
    folder = models.resolve()
    return [member.file for member in members.values() if (models / member.file).resolve().parent != folder]


def refuse_links(members: Mapping[str, Member], models: Path) -> None:
    """Raise BadInputError if one of the checkpoints is a link to another folder."""
    if found := links(members, models):
        raise BadInputError(
            f"ONNX Runtime does not follow checkpoints that are links to other folders: {', '.join(found)}; "
            "--runtime torch follows them, or put the files themselves there"
        )


def load_networks(
    members: Mapping[str, Member],
    models: Path,
    device: str = "cpu",
    precision: str = "fp32",
    runtime: str = "torch",
    threads: int = 1,
) -> Networks:
    """The members' networks with their checkpoints in `models`; `threads` are those of ONNX Runtime.

    Raises BadInputError for a checkpoint that does not fit, or an ONNX file that was not made from it.
    """
    if runtime == "onnx":
        from inference.networks.onnx_networks import load_member

        networks = Networks({name: (member, load_member(member, models, threads)) for name, member in members.items()})
        give_back_freed_memory()  # ONNX Runtime has rearranged the weights
        return networks
    from inference.networks.torch_networks import load_networks as load  # imports PyTorch, which takes seconds

    return load(members, models, device, precision)


def load_fastest(members: Mapping[str, Member], models: Path, device: str) -> Networks:
    """The members' networks at float32, by the runtime that `auto` chooses, on all cores. Raises as `load_networks`."""
    return load_networks(members, models, device, "fp32", choose_runtime("auto", members, models, device), cores())
