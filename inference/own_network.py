"""A network of your own as a member, from a YAML file: `--network FILE.yaml` (docs/use/your_own_network.md).

PyYAML and pydantic, which check the file, are not in the small environment, so import this module only when a file is
given.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from common.errors import BadInputError
from inference.members import KNOWN, Branch, Member
from training.config import STRICT, Triple, load_config, require


@dataclass(frozen=True, config=STRICT)
class OwnNetwork:
    """The keys of the file: those of `inference.members.Member`, by the same names.

    `checkpoint` is a path, relative to the file. `mean` and `std` are those of levels in [0, 1], in the order of
    `color`.
    """

    checkpoint: str
    arch: str
    size: PositiveInt
    color: Literal["rgb", "bgr"]
    mean: Triple
    std: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
    branch: Branch = "image"
    crop_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    flip: bool = False

    def __post_init__(self) -> None:
        require(not self.flip or self.branch == "image", "flip: only image networks are averaged over mirror images")


def read_network(file: Path) -> dict[str, Member]:
    """The member that a YAML file describes, by its name, which is that of the file without its suffix.

    Raises FileNotFoundError for a file or checkpoint that is missing, BadInputError for a file that is wrong, or named
    as another member is.
    """
    if file.stem in KNOWN or "," in file.stem:
        raise BadInputError(f"{file}: a network is named as its file is, and {file.stem!r} is taken, or has a comma")
    network = load_config(file, OwnNetwork)
    checkpoint = (file.parent / network.checkpoint).absolute()
    if not checkpoint.is_file():
        raise FileNotFoundError(f"{file}: its checkpoint {checkpoint} is missing")
    member = Member(
        branch=network.branch,
        file=str(checkpoint),
        trained_by=str(file),
        arch=network.arch,
        size=network.size,
        color=network.color,
        normalisation=(tuple(network.mean), tuple(network.std)),
        weight=1,
        flip=network.flip,
        crop_fraction=network.crop_fraction,
    )
    return {file.stem: member}
