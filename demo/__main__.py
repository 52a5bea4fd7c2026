"""All stages on sample clips, in a few minutes on two cores: `make demo`. Everything it makes is in demo/.

Every step is a command that can be run by hand. Running the demo again skips what is done. A training this small shows
that all stages work together, not that it detects fakes.

    python -m demo
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common.files import atomic_file
from common.labels import parse_label
from common.status import Status
from demo.tree import TEST, make_tree
from faces.detector import FaceDetector, default_weights
from inference.members import MEMBERS, MODELS, SHIPPED
from inference.results import read_results
from training.metrics import VideoScore, log_loss
from training.run_folders import checkpoint_path

ROOT = Path("demo")
CONFIG = "image_based/configs/b0/config.yaml"
SUFFIXES = {"videos": "", "frames": "_image", "boxes": "_Retinaface", "faces": "_Alignedface", "lists": "_list"}
STEPS = 200
OVERRIDES = {  # they bring the b0 config to the demo's size: from scratch, small, balanced, few steps
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


def command(*arguments: str | Path) -> None:
    """Print and run a Python command; end the demo if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ python {' '.join(words)}", flush=True)
    status = subprocess.run([sys.executable, *words], check=False).returncode
    if status:
        sys.exit(
            f"demo: the command above ended with status {status}; mend it and run the demo again, it goes on there"
        )


def preprocess() -> None:
    """Run stages 1 to 4."""
    folders = {name: ROOT / f"DFDC-Kaggle{suffix}" for name, suffix in SUFFIXES.items()}

    def options(*names: str) -> list[str | Path]:
        return [word for name in names for word in (f"--{name}", folders[name])]

    command("extract_frames.py", *options("videos", "frames"))
    command("detect_faces.py", *options("frames", "boxes"))
    command("save_aligned_faces.py", *options("frames", "boxes", "faces"))
    command("make_lists.py", *options("videos", "faces", "lists"), "--public-val", ROOT / "sample_submission.csv")


def train() -> Path:
    """Train b0 for a short time, or go on if that was interrupted; return the last checkpoint."""
    run = ROOT / "experiments/b0_aug_rgb_299/demo"
    last = checkpoint_path(run, STEPS - 1)
    if not last.is_file():
        sets = [word for key, value in OVERRIDES.items() for word in ("--set", f"{key}={value}")]
        command(
            "-m",
            "image_based.main",
            "--config",
            CONFIG,
            "--experiments",
            ROOT / "experiments",
            "--datetime",
            "demo",
            "--recover",
            *sets,
        )
    losses = re.findall(r"^step (\d+)/.* loss ([\d.e+-]+)", (run / "log.txt").read_text(encoding="utf-8"), re.MULTILINE)
    print(
        "\ntraining loss, each the mean of 20 steps: "
        + "  ".join(f"{step}: {float(loss):.2f}" for step, loss in losses[1:])
    )
    return last


def score_trained(checkpoint: Path) -> Path:
    """Score the held-out videos with the training's checkpoint as member b0; return the submission's path."""
    output, models = ROOT / "submission.csv", ROOT / "submit_models"
    if not scored_already(output, checkpoint):
        with atomic_file(models / MEMBERS["b0"].file) as temporary:
            shutil.copyfile(checkpoint, temporary)
        predict(output, "--models", models, "--members", "b0")
    return output


def score_shipped() -> Path:
    """Score the held-out videos with the shipped weights, with evidence; return the submission's path."""
    output = ROOT / "shipped.csv"
    if not scored_already(output, *(MODELS / member.file for member in SHIPPED.values())):
        predict(output, "--members", ",".join(SHIPPED), "--evidence", ROOT / "evidence")
    return output


def scored_already(output: Path, *checkpoints: Path) -> bool:
    """Whether a submission is newer than the checkpoints it comes from; if so, a line says it."""
    done = output.is_file() and output.stat().st_mtime > max(checkpoint.stat().st_mtime for checkpoint in checkpoints)
    if done:
        print(f"\n{output} is newer than {', '.join(map(str, checkpoints))}: scored already")
    return done


def predict(output: Path, *options: str | Path) -> None:
    """Score the held-out videos."""
    held_out = ("--list", ROOT / "sample_submission.csv", "--videos", ROOT / TEST)
    command("-m", "inference.predict", *held_out, "--output", output, *options)


def report(submissions: dict[str, Path]) -> None:
    """Print the table of the held-out videos, and the log loss of each submission."""
    truth = json.loads((ROOT / TEST / "metadata.json").read_text(encoding="utf-8"))
    rows = {name: read_results(path.with_suffix(".jsonl")) for name, path in submissions.items()}
    print(f"\n{'video':<24} {'truth':<6} {'status':<10}" + "".join(f"{name:>16}" for name in rows))
    for same in zip(*rows.values(), strict=True):
        name, status = same[0].filename, same[0].status
        print(f"{name:<24} {truth[name]['label']:<6} {status:<10}" + "".join(f"{row.label:>16.3f}" for row in same))
    print()
    for name, mine in rows.items():
        scored = [
            VideoScore(parse_label(truth[row.filename]["label"]), row.label) for row in mine if row.status == Status.OK
        ]
        print(f"log loss of the {len(scored)} scored videos, {name}: {log_loss(scored):.3f} (a coin has 0.693)")
        print(f"  {told_apart(scored)}")


def told_apart(scored: list[VideoScore]) -> str:
    """Whether all swaps score above all real videos, in words."""
    swaps = [score.probability for score in scored if score.label]
    reals = [score.probability for score in scored if not score.label]
    lowest, highest = min(swaps), max(reals)
    if lowest > highest:
        return (
            f"the swaps are told from the real videos: the lowest swap has {lowest:.3f}, the highest real {highest:.3f}"
        )
    above = sum(swap > highest for swap in swaps)
    return f"the swaps are not told from the real videos: {above} of {len(swaps)} score above the highest real"


def main() -> int:
    """Run the demo."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    began = time.perf_counter()
    command("-m", "pretrain.retinaface")
    command("-m", "pretrain.clips")
    make_tree(ROOT, FaceDetector(default_weights()))
    preprocess()
    checkpoint = train()
    submissions = {"demo's training": score_trained(checkpoint), "shipped weights": score_shipped()}
    report(submissions)
    print(
        "\nA demo-sized training proves the road, not detection skill: its scores mean nothing about real videos.\n"
        "Those of the shipped weights do (inference/submit_models/README.md). The fakes here are of a kind that these\n"
        "have not been trained on: their code and that of training/blend.py have nothing in common.\n\n"
        f"videos and fakes  {ROOT}/DFDC-Kaggle, {ROOT}/{TEST}\n"
        f"faces and lists   {ROOT}/DFDC-Kaggle_Alignedface, {ROOT}/DFDC-Kaggle_list\n"
        f"training          {checkpoint.parent} (tensorboard --logdir {checkpoint.parent})\n"
        f"scores            {', '.join(map(str, submissions.values()))}, and .jsonl beside them\n"
        f"evidence          {ROOT}/evidence/index.html\n"
        f"demo: done in {time.perf_counter() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    sys.exit(main())
