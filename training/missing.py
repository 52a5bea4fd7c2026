"""Which lists and starting weights trainings lack: train.sh asks before it starts the first of them.

It reads the configs with the options of the trainings, as they will. It looks for the lists of the first training that
is not finished, because make_lists.py writes all lists at once, and for the starting weights of all. If a file is
missing it says in one message which and what makes it, and ends with status 2. If this machine does not even have the
folder of the lists, the data lie elsewhere, as on the nodes, and nothing is looked for. Nothing here imports PyTorch.

    python -m training.missing CONFIG [CONFIG ...] [OPTIONS OF THE TRAININGS]
"""

import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from common.command import run_script
from common.errors import BadInputError
from training.config import TrainingConfig
from training.options import training_parser
from training.run_folders import progress_of
from training.state import search_of

MAKERS = {  # folder: what makes its files
    "DFDC-Kaggle_list": "`python make_lists.py` writes these lists from the videos and faces",
    "pretrain": "`python -m pretrain.download` fetches these weights",
}


def require_files(config: TrainingConfig, is_evaluation: bool) -> None:
    """Raise BadInputError if lists or starting weights of a training, or of an evaluation, do not exist."""
    names = [*config.val_lists.values(), *([] if is_evaluation else config.train_lists), config.pretrained]
    refuse([path for path in map(Path, filter(None, names)) if not path.is_file()])


def missing_files(configs: Sequence[str], words: Sequence[str]) -> list[Path]:
    """The files that the trainings of these configs, with the options `words`, still need and that do not exist.

    An empty list if a folder of the lists does not exist here. Raises BadInputError for a wrong config or option.
    """
    lists: list[str] = []
    weights: dict[str, None] = {}
    for name in configs:
        options, search = search_of([name, *words])
        if progress_of(search, options.recover, options.extend).word == "finished":
            continue
        config = search.wanted()
        lists = lists or [*config.train_lists, *config.val_lists.values()]
        if config.pretrained:
            weights[config.pretrained] = None
    if not all(Path(name).parent.is_dir() for name in lists):
        return []
    return [path for path in map(Path, [*lists, *weights]) if not path.is_file()]


def main() -> int:
    """Look; return 0 if nothing is missing. Raises BadInputError naming what is."""
    configs = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    if not configs:
        parser = training_parser("<package>", __doc__)
        parser.usage = "python -m training.missing CONFIG [CONFIG ...] [OPTIONS OF THE TRAININGS]"
        parser.parse_args()
        parser.error("name the configs first")
    refuse(missing_files(configs, sys.argv[1 + len(configs) :]))
    return 0


def refuse(missing: Sequence[Path]) -> None:
    """Raise BadInputError naming these files, if there are any, and what makes them."""
    if not missing:
        return
    count = "1 file that the training reads does" if len(missing) == 1 else f"{len(missing)} files that are read do"
    lines = [f"{count} not exist:"]
    for folder in dict.fromkeys(path.parent for path in missing):
        names = ", ".join(path.name for path in missing if path.parent == folder)
        maker = MAKERS.get(str(folder))
        lines.append(f"  {folder}/: {names}" + (f"\n    {maker}" if maker else ""))
    raise BadInputError("\n".join(lines))


if __name__ == "__main__":
    run_script(main)
