"""Everything that only a machine with a GPU can show, in one run of some minutes, in order of worth.

Each part writes its rows to DIR/card.json and DIR/card.md at once, so a run that is cut off keeps what it has. A part
that fails, or lacks a package, is a line of the table, and the next one follows. A part begins only if there is time
left, and ends after the row in which the time runs out. Weights are random (and those that the repository ships), the
videos are a clip of the demo, recoded. Goals stand beside the figures.

The machine needs no network and no registry. What it lacks is carried, 42 MB of wheels and 6 MB of files:

    python -m pretrain.clips && python -m pretrain.retinaface       # demo/clips, inference/face_detect_ckpt
    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \\
        --platform manylinux1_x86_64 -d wheels -r benchmarks/card-wheels.txt
    # there, where torch, torchvision, onnx, onnxruntime, numpy, OpenCV, Pillow, tensorboard, jinja2 are installed:
    pip install --no-index --no-deps --target site wheels/*.whl && export PYTHONPATH=site
    python -m benchmarks.card --minutes 8 --out DIR

--dry-run walks the same code on a CPU in about a minute: fewer members, smaller inputs, compiling without a compiler,
and memory that runs out because a network says so.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from common.command import cores, pick_device, positive, run_script
from common.errors import BadInputError
from common.files import write_text

if TYPE_CHECKING:
    from benchmarks.card_parts import Card, Row

# The functions of these names are in benchmarks/card_parts.py. It imports PyTorch, and worker processes import this
# file: they must start fast.
PARTS = {
    "group": "a process group of one, by nccl on a GPU",
    "training": "training steps, images (SlowFast: clips) a second",
    "inference": "videos of 300 frames of 1080p with all eleven members",
    "precision": "scores by precision against the CPU's",
    "memory": "memory runs out, and the batch is halved",
    "detector": "the detector against the CPU's boxes",
    "resume": "a training that goes on against one that never stopped",
    "compiled": "training steps, compiled",
}


@dataclass
class Shown:
    """A part's outcome: `status` is done, or why not."""

    name: str
    shows: str
    status: str = "not begun"
    seconds: float = 0.0
    rows: "list[Row]" = field(default_factory=list)


@dataclass
class Report:
    """The outcome so far, written anew after every row."""

    folder: Path
    machine: dict[str, str | int]
    parts: list[Shown] = field(default_factory=list)

    def write(self) -> None:
        """Write card.json and card.md."""
        content = {"machine": self.machine, "parts": [asdict(part) for part in self.parts]}
        write_text(self.folder / "card.json", json.dumps(content, indent=1) + "\n")
        write_text(self.folder / "card.md", self.markdown())

    def markdown(self) -> str:
        """The report as a Markdown table for each part."""
        lines = [", ".join(f"{name} {value}" for name, value in self.machine.items())]
        for part in self.parts:
            lines += ["", f"**{part.shows}**: {part.status}, {part.seconds:.0f} s"]
            if part.rows:
                lines += ["", "| | figure | goal |", "|---|---|---|"]
                lines += [f"| {row.name} | {row.figure} | {row.goal} |" for row in part.rows]
        return "\n".join(lines) + "\n"


def machine_facts(device: str) -> dict[str, str | int]:
    """What a figure depends on."""
    import torch

    facts: dict[str, str | int] = {"torch": torch.__version__, "python": platform.python_version(), "cores": cores()}
    if device == "cuda":
        return {"device": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)} | facts
    return {"device": "CPU"} | facts


def show(name: str, work: "Callable[[Card], Iterator[Row]]", card: "Card", report: Report) -> None:
    """Run a part and put its rows into the report as they come."""
    shown = Shown(name, PARTS[name])
    report.parts.append(shown)
    began = time.monotonic()
    if began > card.ends:
        shown.status = "not begun: no time left"
    else:
        shown.status = "cut off"  # what stands in the file if this process ends within the part
        try:
            for row in work(card):
                shown.rows.append(row)
                shown.seconds = time.monotonic() - began
                report.write()
                print(f"{name:<11}{row.name:<52}{row.figure}", flush=True)
                if time.monotonic() > card.ends:
                    shown.status = "cut short: no time left"
                    break
            else:
                shown.status = "done"
        except ImportError as error:
            shown.status = f"the package {error.name} is missing"
        except Exception as error:  # the other parts must not be lost, and the status says it
            shown.status = f"failed: {type(error).__name__}: {error}"
    shown.seconds = time.monotonic() - began
    report.write()
    print(f"{name:<11}{shown.status}, {shown.seconds:.0f} s", flush=True)


def main() -> int:
    """Run the parts; return 1 if one failed or lacked a package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=positive, default=8, help="no part begins later (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("card"), metavar="DIR", help="default: card")
    parser.add_argument("--parts", metavar="A,B", help=f"default: {','.join(PARTS)}")
    parser.add_argument("--dry-run", action="store_true", help="walk the same code on a CPU, with small inputs")
    options = parser.parse_args()
    wanted = options.parts.split(",") if options.parts else list(PARTS)
    if unknown := set(wanted) - PARTS.keys():
        raise BadInputError(f"unknown parts {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    device = "cpu" if options.dry_run else pick_device("auto")
    if device == "cpu" and not options.dry_run:
        raise BadInputError("torch sees no GPU here; --dry-run walks the same code on a CPU")
    from benchmarks import card_parts

    ends = time.monotonic() + 60 * options.minutes
    report = Report(options.out, machine_facts(device))
    with TemporaryDirectory(prefix="card-") as folder:
        card = card_parts.Card(device, options.dry_run, Path(folder), ends)
        for name in (name for name in PARTS if name in wanted):
            show(name, getattr(card_parts, name), card, report)
    statuses = [part.status for part in report.parts]
    print(f"benchmarks.card: {statuses.count('done')} of {len(statuses)} parts done; {options.out / 'card.md'}")
    return int(any(status.startswith(("failed", "the package")) for status in statuses))


if __name__ == "__main__":
    run_script(main)
