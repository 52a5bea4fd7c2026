"""Which lists and starting weights trainings lack: train.sh asks before it starts the first of them.

It reads the configs with the options of the trainings, as they will, and looks for the starting weights of all that
are not finished, and for the lists of the first of these: make_lists.py writes all lists at once. If a file is missing
it says in one message which and what makes it, and ends with status 2. The face crops are not looked for, because they
may lie on the nodes. Nothing here imports PyTorch.

    python -m training.missing CONFIG [CONFIG ...] [OPTIONS OF THE TRAININGS]
"""

import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from common.command import run_script
from common.errors import BadInputError
from training.run_folders import progress_of
from training.state import search_of

MAKERS = {  # folder: what makes its files
    "DFDC-Kaggle_list": "`python make_lists.py` writes these lists from the videos and faces",
    "pretrain": "`python -m pretrain.download` fetches these weights",
}


def missing_files(configs: Sequence[str], words: Sequence[str]) -> list[Path]:
    """The files that the trainings of these configs, with the options `words`, still need and that do not exist.

    Raises BadInputError for a wrong config or option.
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
    return [path for path in map(Path, [*lists, *weights]) if not path.is_file()]


def main() -> int:
    """Look; return 0 if nothing is missing. Raises BadInputError naming what is."""
    configs = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    missing = missing_files(configs, sys.argv[1 + len(configs) :])
    if not missing:
        return 0
    lines = [f"{len(missing)} files that the trainings read do not exist:"]
    for folder in dict.fromkeys(path.parent for path in missing):
        names = ", ".join(path.name for path in missing if path.parent == folder)
        maker = MAKERS.get(str(folder))
        lines.append(f"  {folder}/: {names}" + (f"\n    {maker}" if maker else ""))
    raise BadInputError("\n".join(lines))


if __name__ == "__main__":
    run_script(main)
