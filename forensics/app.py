"""All that analysts start, as one command: the entry point of the file that `make app` builds.

    robustforensics.pex score clip.mp4 --evidence evidence/
    robustforensics.pex serve

Each command has --help.
"""

import sys
from importlib import import_module
from typing import NoReturn

from common.command import command_parser, run_script

PROGRAM = "robustforensics.pex"
COMMANDS = {
    "score": ("inference.predict", "score videos and still images"),
    "merge": ("inference.merge", "merge the submissions of shards"),
    "bundle": ("inference.bundle", "put the evidence of a video into one ZIP file"),
    "verify": ("inference.verify", "score a video again and say whether its evidence holds"),
    "compare": ("forensics.compare.__main__", "compare a suspect video with its original"),
    "queue": ("forensics.queue.__main__", "sort a submission for reviewers"),
    "serve": ("forensics.serve.__main__", "serve a page that scores videos dropped on it"),
}


def main() -> NoReturn:
    """Run the command that is named first, with the other arguments."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    sys.argv[0] = PROGRAM
    if name not in COMMANDS:
        run_script(explain)
    sys.argv = [f"{PROGRAM} {name}", *sys.argv[2:]]
    run_script(import_module(COMMANDS[name][0]).main)


def explain() -> int:
    """Show the commands, or the error in the arguments."""
    parser = command_parser(__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    parser.parse_args()
    return 0


if __name__ == "__main__":
    main()
