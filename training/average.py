"""The mean of two checkpoints' weights, such as those before and after a training.

Such a mean is worth as much as hours of training: docs/log/shipped_weights.md. The optimizer's state is left out.

    python -m training.average BEFORE AFTER --output FILE [--share 0.5]
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.command import command_parser, run_script
from common.errors import CheckpointError
from common.files import atomic_file
from training.checkpoint import bare_name, read_checkpoint


def mean_weights(before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The mean of two state dicts of one network, float32, in which `after` has the weight `share`.

    Counters are those of `after`. Raises ValueError if names or shapes differ.
    """
    first, second = ({bare_name(name): value for name, value in state.items()} for state in (before, after))
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        raise ValueError("they hold different networks")
    return {
        name: torch.lerp(first[name].float(), value.float(), share) if value.is_floating_point() else value
        for name, value in second.items()
    }


def main() -> int:
    """Read both, write the mean."""
    parser = command_parser(__doc__)
    parser.add_argument("checkpoints", type=Path, nargs=2, metavar="CHECKPOINT", help="before and after")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--share", type=float, default=0.5, metavar="P", help="of the second (default: 0.5)")
    options = parser.parse_args()
    before, after = map(read_checkpoint, options.checkpoints)
    try:
        state = mean_weights(before["state_dict"], after["state_dict"], options.share)
    except ValueError as error:
        raise CheckpointError(f"{' and '.join(map(str, options.checkpoints))}: {error}") from error
    with atomic_file(options.output) as temporary:
        torch.save({"step": after["step"], "arch": after["arch"], "state_dict": state}, temporary)
    first, second = options.checkpoints
    print(f"average: {options.share:g} of {second}, the rest of {first}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
