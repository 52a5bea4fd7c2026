"""Measure what only a machine with a GPU can show, in one run of a few minutes, the most important parts first.

Each part writes its rows to DIR/gpu.json and DIR/gpu.md at once, so a run that is cut off keeps what it has. If a part
fails or lacks a package, its heading says so, and the next part follows. A part starts only while there is time left,
and stops after the row during which the time runs out. Weights are random, except for the shipped ones; videos are a
sample clip, recoded. The machine needs no network: benchmarks/gpu-wheels.txt says what to carry there.

--dry-run runs the same code on a CPU in minutes, with fewer members and smaller inputs. It compiles without a compiler,
and a network pretends that memory runs out.

    python -m benchmarks.gpu --minutes 8 --out DIR
"""

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from common.command import cores, pick_device, positive, run_script
from common.errors import BadInputError
from common.files import write_text
from common.stage import folder_parser

if TYPE_CHECKING:
    from benchmarks.gpu_measurements import Row

# Each has a measure_<name> in gpu_measurements, which main imports late: workers import this file, but need no PyTorch.
PARTS = {
    "group": "a process group of one process, by nccl on a GPU",
    "training": "training steps, images (SlowFast: clips) per second",
    "inference": "videos of 300 frames of 1080p with all eleven members",
    "precision": "scores at each precision against the CPU's",
    "memory": "memory runs out, and the batch is halved",
    "detector": "the detector's boxes against the CPU's",
    "resume": "a resumed training against one that never stopped",
    "compiled": "training steps, compiled",
}


@dataclass
class Part:
    """A part's outcome; `status` is done, or says why it is not."""

    name: str
    shows: str
    status: str = "not begun"
    seconds: float = 0.0
    rows: "list[Row]" = field(default_factory=list)


def write_report(folder: Path, machine: Mapping[str, str | int], parts: Sequence[Part]) -> None:
    """Write gpu.json, and gpu.md with one table per part."""
    content = {"machine": machine, "parts": [asdict(part) for part in parts]}
    write_text(folder / "gpu.json", json.dumps(content, indent=1) + "\n")
    lines = [", ".join(f"{name} {value}" for name, value in machine.items())]
    for part in parts:
        lines += ["", f"**{part.shows}**: {part.status}, {part.seconds:.0f} s"]
        lines += ["", "| | figure | goal |", "|---|---|---|"] if part.rows else []
        lines += [f"| {row.name} | {row.figure} | {row.goal} |" for row in part.rows]
    write_text(folder / "gpu.md", "\n".join(lines) + "\n")


def machine_facts(device: str) -> dict[str, str | int]:
    """What the figures depend on."""
    import torch

    gpu = {"device": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)} if device == "cuda" else None
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return {**(gpu or {"device": "CPU"}), **versions, "cores": cores()}


def run_part(part: Part, rows: "Iterator[Row]", write: Callable[[], None], deadline: float) -> None:
    """Fill a part, and write the report after each row; `deadline` is by time.monotonic()."""
    began = time.monotonic()
    try:
        if began > deadline:
            part.status = "not begun: no time left"
            return
        part.status = "cut off"  # this is in the file if the process ends within the part
        for row in rows:
            part.rows.append(row)
            part.seconds = time.monotonic() - began
            write()
            print(f"{part.name:<11}{row.name:<52}{row.figure}", flush=True)
            if time.monotonic() > deadline:
                part.status = "cut short: no time left"
                return
        part.status = "done"
    except ImportError as error:
        part.status = f"the package {error.name} is missing"
    except Exception as error:  # the other parts must not be lost, and the status names the error
        part.status = f"failed: {type(error).__name__}: {error}"
    finally:
        part.seconds = time.monotonic() - began
        write()
        print(f"{part.name:<11}{part.status}, {part.seconds:.0f} s", flush=True)


def main() -> int:
    """Run the parts; return 1 if one failed or lacked a package."""
    parser = folder_parser(__doc__, out="gpu")
    parser.add_argument("--minutes", type=positive, default=8, help="no part starts after these (default: 8)")
    parser.add_argument("--parts", metavar="A,B", help=f"default: {','.join(PARTS)}")
    parser.add_argument("--dry-run", action="store_true", help="run the same code on a CPU, with small inputs")
    options = parser.parse_args()
    wanted = options.parts.split(",") if options.parts else list(PARTS)
    if unknown := set(wanted) - PARTS.keys():
        raise BadInputError(f"unknown parts {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    device = "cpu" if options.dry_run else pick_device("auto")
    if device == "cpu" and not options.dry_run:
        raise BadInputError("torch sees no GPU here; --dry-run runs the same code on a CPU")
    from benchmarks import gpu_measurements

    deadline = time.monotonic() + 60 * options.minutes
    parts = [Part(name, shows) for name, shows in PARTS.items() if name in wanted]
    write = partial(write_report, options.out, machine_facts(device), parts)
    with TemporaryDirectory(prefix="gpu-") as folder:
        session = gpu_measurements.Session(device, options.dry_run, Path(folder))
        for part in parts:
            run_part(part, getattr(gpu_measurements, f"measure_{part.name}")(session), write, deadline)
    statuses = [part.status for part in parts]
    print(f"benchmarks.gpu: {statuses.count('done')} of {len(statuses)} parts done; {options.out / 'gpu.md'}")
    return int(any(status.startswith(("failed", "the package")) for status in statuses))


if __name__ == "__main__":
    run_script(main)
