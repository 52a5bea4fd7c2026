"""Small trainings for tests: five videos of two crops each, 64 pixels, batches of two."""

import os
import shutil
import sys
from itertools import islice

import cv2
import numpy as np
import torch

from common.images import resize
from faces.video import read_frames
from inference.members import KNOWN
from pretrain.clips import clip
from tests.conftest import ROOT
from tests.test_networks import lively
from training.inputs import to_input

CONFIG = "image_based/configs/b0/config.yaml"


def write_crops(root, frames):
    """Five videos with one track of two crops each, and their list."""
    lines = []
    for number in range(5):
        folder = root / f"faces/part_0/v{number}"
        folder.mkdir(parents=True)
        for frame in (1, 2):
            cv2.imwrite(str(folder / f"frame{frame}_face1.png"), frames[2 * number + frame][60:300, 200:440])
        lines.append(f"part_0/v{number}/frame%d_face1.png 1 1 2 {number % 2}")
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    return root


def settings(crops, **values):
    """The options for a b0 training on these crops: two reference processes, five steps."""
    wanted = {
        "pretrained": "null", "train_root": crops / "faces", "val_root": crops / "faces",
        "train_list": crops / "list.txt", "val_lists.val_30-39": crops / "list.txt",
        "input_size": 64, "batch_size": 2, "reference_world_size": 2,
        "lr_scheduler.max_iter": 5, "print_freq": 1, "val_freq": 100, "workers": 0,
    } | values  # fmt: skip
    return [word for key, value in wanted.items() for word in ("--set", f"{key}={value}")]


def write_lists(root, lines):
    """Write the lines as both `train.txt` and `val.txt`; return the folder."""
    for name in ("train", "val"):
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def on_two_lists(root, **values):
    """The overrides for a training from random weights on `train.txt`, `val.txt` and `faces` in a folder."""
    wanted = {
        "pretrained": "null", "train_root": root / "faces", "train_list": root / "train.txt",
        "val_root": root / "faces", "val_lists": f"{{held_out: {root / 'val.txt'}}}",
        "reference_world_size": 1, "positive_weight": 0.5, "workers": 0,
    } | values  # fmt: skip
    return [f"{key}={value}" for key, value in wanted.items()]


def command(crops, experiments, *more, **values):
    """Python's arguments for such a training."""
    words = ["-m", "image_based.main", "--config", ROOT / CONFIG, "--experiments", experiments, "--datetime", "now"]
    return [str(word) for word in (*words, *settings(crops, **values), *more)]


def checkout(root, *more):
    """A copy of what trains, and of more folders, with `experiments` folders of its own and this Python."""
    for folder in ("common", "training", "image_based", "video_based", "pretrain", "slurm", *more):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("experiments", "__pycache__"))
    (root / ".venv").symlink_to(sys.prefix)
    for script in ("train.sh", "train.sbatch"):
        shutil.copy(ROOT / script, root / script)
    (root / "logs").mkdir()
    return root


def small_slurm(environment, tasks, *train_args):
    """The environment in which the launchers start `tasks` tasks on one node, without GPUs, with one thread each."""
    return environment | {
        "NTASKS": str(tasks), "GPUS_PER_NODE": "0", "NTASKS_PER_NODE": str(tasks), "CPUS_PER_TASK": "1",
        "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHON": sys.executable,
        "TRAIN_ARGS": " ".join(map(str, train_args)),
    }  # fmt: skip


def one_thread():
    """This environment, but with one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def write_checkpoints(folder, names):
    """Checkpoints of these members in the published format, with random weights whose scores differ visibly between
    real faces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames = list(islice(read_frames(clip("single_face.mp4")), 8))
    for name in names:
        member = KNOWN[name]
        crops = [
            cv2.LUT(resize(frame[60:300, 200:440], member.size), gamma(1.2**exponent))
            for exponent, frame in enumerate(frames, start=-4)
        ]
        network = lively(member.arch)
        last = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1]
        images = to_input(torch.from_numpy(np.stack(crops)), member.color, *member.normalisation)
        with torch.inference_mode():
            outputs = network(images[:, :, None].repeat(1, 1, 4, 1, 1) if member.branch == "video" else images)
        scale = 1 / (outputs[:, 1] - outputs[:, 0]).std()
        last.weight.data *= scale
        last.bias.data = -scale * (outputs.mean(dim=0) - last.bias.data)
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        content = {"step": 1000, "arch": member.arch, "state_dict": state, "best_loss": 0.1, "optimizer": {}}
        torch.save(content, folder / member.file)
    return folder


def gamma(exponent):
    """A lookup table that darkens an image (exponents above 1) or lightens it."""
    return (255 * (np.arange(256) / 255) ** exponent).round().astype(np.uint8)
