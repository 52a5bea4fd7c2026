"""All stages on sample clips, in a few minutes on two cores: `make demo`. Everything it makes is in demo/.

It makes a small data set from sample clips, runs reproduce.sh on it with one small training, and scores the held-out
videos with the shipped weights too. Every step is a command that can be run by hand, and is skipped if it is done. Such
a training shows that all stages work together, not that it detects fakes.

    python -m demo
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from common.command import command_parser, run_script
from common.labels import parse_label
from common.status import Status
from demo.tree import TEST, make_tree
from faces.detector import FaceDetector, default_weights
from inference.members import MODELS, SHIPPED
from inference.results import read_results
from training.metrics import VideoScore, log_loss

ROOT = Path("demo")
CONFIG = "image_based/configs/b0/config.yaml"
RUN = ROOT / "experiments/b0_aug_rgb_299/demo"
STEPS = 200
OVERRIDES = {  # the b0 config at the demo's size: from scratch, small, balanced, few steps
    "pretrained": "null",
    "train_root": f"{ROOT}/DFDC-Kaggle_Alignedface",
    "train_list": f"{ROOT}/DFDC-Kaggle_list/val_30-39_train_alignedface_png.txt",
    "val_root": f"{ROOT}/DFDC-Kaggle_Alignedface",
    "val_lists": f"{{val_30-39: {ROOT}/DFDC-Kaggle_list/val_30-39_val_alignedface_png.txt}}",
    "input_size": "224",
    "batch_size": "8",
    "reference_world_size": "1",  # the loss is no longer divided by 8, so the learning rates are
    "positive_weight": "0.5",
    "lr_scheduler.base_lr": "0.00125",
    "lr_scheduler.warmup_lr": "0.0125",
    "lr_scheduler.warmup_steps": "30",
    "lr_scheduler.lr_steps": "[120, 160]",
    "lr_scheduler.lr_mults": "[0.2, 0.2]",
    "lr_scheduler.max_iter": str(STEPS),
    "print_freq": "20",
    "val_freq": "100",
}


def command(*arguments: str | Path, **environment: str) -> None:
    """Print and run a command; end the demo if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ {shlex.join(words)}", flush=True)
    status = subprocess.run(words, check=False, env=os.environ | environment).returncode
    if status:
        sys.exit(f"demo: the command above ended with status {status}; fix it and run the demo again, which resumes")


def python(*arguments: str | Path) -> None:
    """Run a Python command."""
    command(sys.executable, *arguments)


def training() -> list[str]:
    """The command that trains b0 for a short time, or resumes that training."""
    settings = [word for key, value in OVERRIDES.items() for word in ("--set", f"{key}={value}")]
    run = ("--experiments", f"{ROOT}/experiments", "--datetime", "demo", "--recover")
    return [sys.executable, "-m", "image_based.main", "--config", CONFIG, *run, *settings]


def reproduce() -> Path:
    """Run reproduce.sh on the demo's videos; return the submission's path."""
    output = ROOT / "submission.csv"
    command(
        "sh",
        "reproduce.sh",
        DATA=str(ROOT),
        TEST=str(ROOT / TEST),
        LIST=str(ROOT / "sample_submission.csv"),
        OUTPUT=str(output),
        MODELS=str(ROOT / "submit_models"),
        MEMBERS="b0",
        TRAIN=shlex.join(training()),
        COLLECT=f"--experiments {ROOT}/experiments --last",
        PYTHON=sys.executable,
    )
    return output


def score_shipped() -> Path:
    """Score the held-out videos with the shipped weights, with evidence; return the submission's path."""
    output = ROOT / "shipped.csv"
    newest = max((MODELS / member.file).stat().st_mtime for member in SHIPPED.values())
    if output.is_file() and output.stat().st_mtime > newest:
        print(f"\n{output} is newer than the shipped weights: scored already")
        return output
    held_out = ("--list", ROOT / "sample_submission.csv", "--videos", ROOT / TEST)
    options = ("--members", ",".join(SHIPPED), "--evidence", ROOT / "evidence")
    python("-m", "inference.predict", *held_out, "--output", output, *options)
    return output


def show_losses(run: Path) -> None:
    """Print how the training loss fell."""
    log = (run / "log.txt").read_text(encoding="utf-8")
    losses = re.findall(r"^step (\d+)/.* loss ([\d.e+-]+)", log, re.MULTILINE)
    means = "  ".join(f"{step}: {float(loss):.2f}" for step, loss in losses[1:])
    print(f"\ntraining loss, means over 20 steps: {means}")


def report(submissions: dict[str, Path]) -> None:
    """Print the table of the held-out videos, and the log loss of each submission."""
    truth = json.loads((ROOT / TEST / "metadata.json").read_text(encoding="utf-8"))
    by_weights = {name: list(read_results(path.with_suffix(".jsonl")).values()) for name, path in submissions.items()}
    print(f"\n{'video':<24} {'truth':<6} {'status':<10}" + "".join(f"{name:>16}" for name in by_weights))
    for results in zip(*by_weights.values(), strict=True):
        name, status = results[0].filename, results[0].status
        labels = "".join(f"{result.label:>16.3f}" for result in results)
        print(f"{name:<24} {truth[name]['label']:<6} {status:<10}{labels}")
    print()
    for name, predictions in by_weights.items():
        scored = [
            VideoScore(parse_label(truth[result.filename]["label"]), result.label)
            for result in predictions
            if result.status == Status.OK
        ]
        print(f"log loss over the {len(scored)} scored videos, {name}: {log_loss(scored):.3f} (a coin has 0.693)")
        print(f"  {separation(scored)}")


def separation(scored: list[VideoScore]) -> str:
    """A sentence on whether all swaps score above all real videos."""
    swaps = [score.probability for score in scored if score.label]
    real = [score.probability for score in scored if not score.label]
    lowest, highest = min(swaps), max(real)
    if lowest > highest:
        return (
            f"all swaps score above all real videos: the lowest swap {lowest:.3f}, the highest real one {highest:.3f}"
        )
    above = sum(swap > highest for swap in swaps)
    return f"swaps and real videos overlap: {above} of {len(swaps)} swaps score above the highest real video"


def main() -> int:
    """Run the demo."""
    command_parser(__doc__).parse_args()
    began = time.perf_counter()
    python("-m", "pretrain.retinaface")
    python("-m", "pretrain.clips")
    make_tree(ROOT, FaceDetector(default_weights()))
    submissions = {"demo's training": reproduce(), "shipped weights": score_shipped()}
    show_losses(RUN)
    report(submissions)
    print(
        "\nSo small a training proves that the pipeline works, not that it detects fakes. Its scores mean nothing for\n"
        "real videos; those of the shipped weights do (inference/submit_models/README.md). The fakes here are of a\n"
        "kind that these were not trained on: their code has nothing in common with that of training/blend.py.\n\n"
        f"videos and fakes  {ROOT}/DFDC-Kaggle, {ROOT}/{TEST}\n"
        f"faces and lists   {ROOT}/DFDC-Kaggle_Alignedface, {ROOT}/DFDC-Kaggle_list\n"
        f"training          {RUN} (tensorboard --logdir {RUN})\n"
        f"scores            {', '.join(map(str, submissions.values()))}, and .jsonl beside them\n"
        f"evidence          {ROOT}/evidence/index.html\n"
        f"demo: done in {time.perf_counter() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    run_script(main)
