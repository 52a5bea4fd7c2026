"""Between stages 5 and 6: copy each member's checkpoint from its training into inference/submit_models.

Reads  the runs of the members' configs in image_based/experiments and video_based/experiments, or in --experiments
Writes the members' files in --models, under the names that the reference published

A file's name says which step is meant: `b0_rgb_58000.pth.tar` is step 58000 of the training, as the reference chose.
--last takes the last checkpoint of a run instead, for trainings with a shorter schedule. The newest run of a config
counts. The exit status is 1 if a member's checkpoint was not found.

    python -m inference.collect
    python -m inference.collect --members b0 --experiments demo/experiments --models demo/submit_models --last
"""

import re
import shutil
from pathlib import Path

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import atomic_file, sha256
from inference.members import MEMBERS, MODELS, Member
from training.run_folders import RunSearch, checkpoint_path, checkpoints
from training.state import package_of


def step_in_name(file: str) -> int:
    """The step in the name of a member's file."""
    match = re.search(r"_(\d+)\.pth\.tar$", file)
    assert match is not None, file
    return int(match[1])


def find_checkpoint(member: Member, experiments: Path | None, last: bool) -> Path:
    """The member's checkpoint in its newest run that has it. Raises BadInputError if there is none."""
    package, config_type = package_of(Path(member.trained_by))
    folder = experiments or Path(package) / "experiments"
    search = RunSearch(Path(member.trained_by), (), folder, None, config_type)
    step = step_in_name(member.file)
    for run in search.saved(search.wanted()):
        path = checkpoints(run)[0] if last else checkpoint_path(run, step)
        if path.is_file():
            return path
    wanted = "a checkpoint" if last else f"the checkpoint of step {step}"
    raise BadInputError(f"no run of {member.trained_by} in {folder} has {wanted}")


def collect(checkpoint: Path, target: Path) -> str:
    """Copy a checkpoint, atomically, unless it is there already; return a word for what was done."""
    if target.is_file() and target.stat().st_size == checkpoint.stat().st_size and sha256(target) == sha256(checkpoint):
        return "already there"
    with atomic_file(target) as temporary:
        shutil.copyfile(checkpoint, temporary)
    return "copied"


def main() -> int:
    """Copy all that are found; return 1 if one was not found, else 0."""
    parser = command_parser(__doc__)
    parser.add_argument("--members", metavar="A,B", help="default: all eleven")
    parser.add_argument("--experiments", type=Path, metavar="DIR", help="default: those of each package")
    parser.add_argument("--last", action="store_true", help="take the last checkpoint, not that of the file's name")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"where they go (default: {MODELS})")
    options = parser.parse_args()
    names = options.members.split(",") if options.members else list(MEMBERS)
    if unknown := set(names) - MEMBERS.keys():
        raise BadInputError(f"unknown members {', '.join(sorted(unknown))}; known are {', '.join(MEMBERS)}")
    missing = 0
    for name in names:
        target = options.models / MEMBERS[name].file
        try:
            checkpoint = find_checkpoint(MEMBERS[name], options.experiments, options.last)
        except BadInputError as error:
            missing += 1
            print(f"collect: {name}: {error}", flush=True)
            continue
        print(f"collect: {name}: {checkpoint} {collect(checkpoint, target)}: {target}", flush=True)
    print(f"collect: {len(names) - missing} members in {options.models}, {missing} not found")
    return int(missing > 0)


if __name__ == "__main__":
    run_script(main)
