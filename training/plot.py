"""Draw the curves of one or several runs: loss, learning rate, log losses of REAL and FAKE per validation set.

Reads  the TensorBoard files of runs, <experiments>/<save_path>/<datetime>
Writes one PNG (--output)

    python -m training.plot image_based/experiments/b0_aug_rgb_299/20261122_101500
    python -m training.plot image_based/experiments/*/2026* --output runs.png
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import atomic_file

Curve = tuple[list[int], list[float]]  # steps, values
CLASSES = {"REAL": "-", "FAKE": "--"}  # line styles


def read_curves(run: Path) -> dict[str, Curve]:
    """A run's curves by name. Raises BadInputError if the folder holds no TensorBoard file."""
    if not any(run.glob("events.out.tfevents.*")):
        raise BadInputError(
            f"{run} holds no TensorBoard file: name a run's folder, <experiments>/<save_path>/<datetime>"
        )
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    curves = {}
    for name in events.Tags()["scalars"]:
        points = events.Scalars(name)
        curves[name] = [point.step for point in points], [point.value for point in points]
    return curves


def draw(runs: dict[str, dict[str, Curve]]) -> Figure:
    """Draw a panel for the loss, the learning rate and each validation set's log losses; each run has its colour."""
    sets = sorted({name.rpartition("/")[0] for curves in runs.values() for name in curves if "/" in name})
    figure = Figure(figsize=(9, 3 * (2 + len(sets))), layout="constrained")
    loss, rate, *validations = figure.subplots(2 + len(sets), sharex=True)
    for number, (run, curves) in enumerate(runs.items()):
        colour = f"C{number % 10}"
        for axes, name in ((loss, "loss"), (rate, "lr")):
            axes.plot(*curves.get(name, ([], [])), color=colour, label=run)
        for axes, validation in zip(validations, sets, strict=True):
            draw_classes(axes, curves, validation, colour, run)
    loss.set_ylabel("training loss")
    rate.set_ylabel("learning rate")
    for axes, validation in zip(validations, sets, strict=True):
        axes.set_ylabel(f"log loss, {validation}")
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.axes[-1].set_xlabel("step")
    return figure


def draw_classes(axes: Axes, curves: dict[str, Curve], validation: str, colour: str, run: str) -> None:
    """Draw the log losses of a run's REAL and FAKE videos in one validation set."""
    for label, style in CLASSES.items():
        if curve := curves.get(f"{validation}/video_logloss_{label}"):
            axes.plot(*curve, style, color=colour, marker=".", label=f"{run} {label}")


def main() -> int:
    """Read, draw, write."""
    parser = command_parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument(
        "--output", type=Path, default=Path("training.png"), metavar="PNG", help="default: training.png"
    )
    options = parser.parse_args()
    runs = {f"{run.resolve().parent.name}/{run.resolve().name}": read_curves(run) for run in options.runs}
    figure = draw(runs)
    with atomic_file(options.output) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    print(f"{len(runs)} runs drawn; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
