"""Several processes: they take the steps that one takes, validate every sample once, and stop together."""

import contextlib
import csv
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import BadInputError
from tests.conftest import ROOT, interrupt, launch, wait_for
from tests.tiny import CONFIG, command, one_thread, settings, small_slurm, write_crops
from training.checkpoint import read_checkpoint
from training.distributed import Place, World, place, usable
from training.watch import STOPPED


@pytest.fixture(scope="module")
def crops(tmp_path_factory, frames):
    return write_crops(tmp_path_factory.mktemp("crops"), frames)


def torchrun(processes, arguments, **options):
    words = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", *arguments]
    return subprocess.run(words, cwd=ROOT, env=one_thread(), capture_output=True, text=True, **options)


def folder(experiments):
    return experiments / "b0_aug_rgb_299/now"


def rows(experiments, step):
    return list(csv.DictReader((folder(experiments) / f"ckpt_iter_{step}_val_30-39.csv").open()))


@pytest.fixture(scope="module")
def alone(crops, tmp_path_factory):
    """A run of one process, which stands in for the reference's two."""
    root = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, *command(crops, root)], cwd=ROOT, env=one_thread(), check=True, capture_output=True)
    return root


def test_two_processes_take_the_steps_of_one(crops, alone, tmp_path):
    """The same parameters after five steps, dropout and all; the same score for every video."""
    done = torchrun(2, command(crops, tmp_path), check=False)
    assert done.returncode == 0, done.stderr
    assert "2 processes for the reference's 2" in done.stdout
    single, double = (read_checkpoint(folder(root) / "ckpt_iter_4.pth.tar") for root in (alone, tmp_path))
    for name, value in single["state_dict"].items():
        torch.testing.assert_close(double["state_dict"][name].float(), value.float(), atol=1e-6, rtol=1e-5, msg=name)
    assert [row["video"] for row in rows(tmp_path, 4)] == [f"part_0/v{number}" for number in range(5)]
    for ours, expected in zip(rows(tmp_path, 4), rows(alone, 4), strict=True):
        assert float(ours["probability"]) == pytest.approx(float(expected["probability"]), abs=1e-5)


@pytest.mark.slow
def test_three_processes_cannot_stand_in_for_two(crops, tmp_path):
    done = torchrun(3, command(crops, tmp_path), check=False)
    assert done.returncode != 0
    assert "3 processes cannot stand in for the reference's 2: use one of [1, 2]" in done.stderr
    assert not folder(tmp_path).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_run_told_to_stop_saves_and_goes_on_to_the_same_weights(crops, alone, tmp_path, number):
    words, environment = command(crops, tmp_path), one_thread()
    process = launch(*words, env=environment)
    log = folder(tmp_path) / "log.txt"
    interrupt(process, lambda: log.exists() and "step 1/4" in log.read_text(), number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == STOPPED == 75, errors
    assert "told to stop, saved" in output
    assert (folder(tmp_path) / "requeue").is_file()
    again, errors = launch(*words, "--recover", env=environment).communicate()
    assert "going on after" in again, errors
    assert not (folder(tmp_path) / "requeue").exists()
    assert (folder(tmp_path) / "finished").is_file()
    ours, expected = (read_checkpoint(folder(root) / "ckpt_iter_4.pth.tar")["state_dict"] for root in (tmp_path, alone))
    assert all(torch.equal(ours[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_three_processes_go_on_to_the_same_weights(crops, tmp_path):
    """Sums over three depend on how the gradients are grouped, which must not change after a stop. Nor must mixup's
    draw.
    """
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("".join(f"part_0/v{number}/frame%d_face1.png 1 1 1 {number % 2}\n" for number in range(4)))
    values = {"reference_world_size": 3, "val_freq": 2, "together": 2, "mixup": 0.9, "train_list": pairs}
    for name in ("whole", "resumed"):
        if name == "resumed":
            folder(tmp_path / name).mkdir(parents=True)
            shutil.copy(folder(tmp_path / "whole") / "ckpt_iter_2.pth.tar", folder(tmp_path / name))
        torchrun(3, command(crops, tmp_path / name, "--recover", **values), check=True)
    ours, expected = (read_checkpoint(folder(tmp_path / name) / "ckpt_iter_4.pth.tar") for name in ("resumed", "whole"))
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in expected["state_dict"].items())


@pytest.mark.slurm
@pytest.mark.parametrize("processes", [1, 3, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 8))])
def test_any_number_of_processes_validates_to_the_same_scores(slurm, crops, alone, tmp_path, processes):
    """--evaluate on a range of checkpoints and ten samples: each gets one prediction, none is lost or repeated."""
    shutil.copytree(folder(alone), folder(tmp_path))
    path = folder(tmp_path) / "ckpt_iter_4_val_30-39.csv"
    path.unlink()
    (tmp_path / "dist").mkdir()
    words = [
        "sh",
        "image_based/train.sh",
        CONFIG,
        "debug",
        tmp_path / "dist",
        "evaluation",
        "--datetime",
        "now",
        "--evaluate",
        "3:4",
    ]
    environment = small_slurm(slurm, processes, *settings(crops), "--experiments", tmp_path)
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "evaluated 1 checkpoints, 0 damaged" in done.stdout
    assert [row["video"] for row in rows(tmp_path, 4)] == [f"part_0/v{number}" for number in range(5)]
    for ours, expected in zip(rows(tmp_path, 4), rows(alone, 4), strict=True):
        assert float(ours["probability"]) == pytest.approx(float(expected["probability"]), abs=2e-6)
    (line,) = csv.DictReader((folder(tmp_path) / "evaluation.csv").open())
    assert (line["step"], line["set"]) == ("4", "val_30-39")
    best = read_checkpoint(folder(alone) / "ckpt_iter_4.pth.tar")["best_loss"]
    assert float(line["video_logloss_balanced"]) == pytest.approx(best, abs=1e-5)
    scored = [(int(row["label"]), float(row["probability"])) for row in rows(tmp_path, 4)]
    within = [
        np.mean([fake > real + slack for label, fake in scored if label for other, real in scored if not other])
        for slack in (2e-6, -2e-6)  # the rows are rounded, and barely trained networks score all alike
    ]
    assert within[0] - 1e-5 <= float(line["video_auc"]) <= within[1] + 1e-5


def test_an_evaluation_reports_missing_and_damaged_checkpoints(run, crops, alone, tmp_path):
    nothing = run(*command(crops, tmp_path, "--evaluate", "0:3"), check=False)
    assert (nothing.returncode, "has no checkpoint in that range" in nothing.stderr) == (2, True)
    wrong = run(*command(crops, tmp_path, "--evaluate", "all"), check=False)
    assert "'all' is not FIRST:LAST or FIRST:LAST:EVERY" in wrong.stderr
    shutil.copytree(folder(alone), folder(tmp_path))
    (folder(tmp_path) / "ckpt_iter_2.pth.tar").write_bytes(b"cut off")
    done = run(*command(crops, tmp_path, "--evaluate"), check=False)
    assert (done.returncode, "evaluated 1 checkpoints, 1 damaged" in done.stdout) == (1, True)


@pytest.fixture
def long_training(crops, tmp_path):
    """A training with a loader process, at its third step; and its helpers, which are the loader and its server."""
    environment = one_thread() | {"THIS_TEST": str(tmp_path)}
    arguments = command(crops, tmp_path, "--stall-timeout", 8, workers=1, **{"lr_scheduler.max_iter": 500})
    log = (tmp_path / "stderr").open("w")
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log
    )
    wait_for(lambda: (log := folder(tmp_path) / "log.txt").exists() and "step 2/" in log.read_text())
    yield process, lambda: processes_with(f"THIS_TEST={tmp_path}") - {process.pid}
    for helper in (process.pid, *processes_with(f"THIS_TEST={tmp_path}")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(helper, signal.SIGKILL)


def processes_with(variable):
    """The live processes that were started with an environment variable."""
    processes = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                processes.add(int(entry.name))
    return processes


def test_a_killed_training_leaves_no_process(long_training):
    process, helpers = long_training
    assert len(helpers()) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not helpers(), 20)


def test_a_training_that_stalls_ends_with_its_stacks(long_training, tmp_path):
    """Its loader process is suspended."""
    process, helpers = long_training
    for helper in helpers():
        os.kill(helper, signal.SIGSTOP)
    assert process.wait(timeout=30) == 124
    assert "rank 0: stalled: nothing was done for 8 s" in (tmp_path / "stderr").read_text()
    assert "next(self.batches)" in (tmp_path / "stderr").read_text()


@pytest.mark.slow
def test_bf16_trains_nearly_like_float32(run, crops, alone, tmp_path):
    run(*command(crops, tmp_path, "--precision", "bf16"))
    ours, exact = ((folder(root) / "log.txt").read_text() for root in (tmp_path, alone))
    losses = [[float(loss) for loss in re.findall(r" loss ([\d.e+-]+)", log)] for log in (ours, exact)]
    assert len(losses[0]) == len(losses[1]) == 5
    assert losses[0][0] == pytest.approx(losses[1][0], abs=0.03)
    assert losses[0] != losses[1]
    content = read_checkpoint(folder(tmp_path) / "ckpt_iter_4.pth.tar")["state_dict"]
    assert {value.dtype for value in content.values()} == {torch.float32, torch.int64}


@pytest.mark.slow
def test_a_track_without_a_readable_crop_ends_the_process(start, crops, tmp_path):
    done = start(*command(crops, tmp_path, workers=1, train_root=tmp_path), check=False, timeout=60)
    assert done.returncode == 2
    assert "none of 2 crops is readable" in done.stderr


@pytest.mark.slow
def test_a_run_that_ended_during_a_validation_validates_again(crops, alone, tmp_path):
    """Its checkpoint exists, but not its table; the last step is done, but not marked."""
    shutil.copytree(folder(alone), folder(tmp_path))
    for name in ("finished", "ckpt_best.pth.tar", "ckpt_iter_4_val_30-39.csv"):
        (folder(tmp_path) / name).unlink()
    content = read_checkpoint(folder(tmp_path) / "ckpt_iter_4.pth.tar")
    torch.save(content | {"best_loss": math.inf}, folder(tmp_path) / "ckpt_iter_4.pth.tar")
    words = [sys.executable, *command(crops, tmp_path, "--recover")]
    subprocess.run(words, cwd=ROOT, env=one_thread(), check=True, capture_output=True)
    assert rows(tmp_path, 4) == rows(alone, 4)
    for name in ("ckpt_iter_4", "ckpt_best"):
        assert read_checkpoint(folder(tmp_path) / f"{name}.pth.tar")["best_loss"] == pytest.approx(content["best_loss"])
    assert (folder(tmp_path) / "finished").is_file()


@pytest.mark.slow
def test_momentum_with_another_memory_layout_gives_the_same_steps(crops, tmp_path):
    """In the reference's checkpoints momentum is contiguous; ours is channels last."""
    short = {"lr_scheduler.max_iter": 4, "val_freq": 2}
    words = [sys.executable, *command(crops, tmp_path, "--recover", **short)]
    subprocess.run(words, cwd=ROOT, env=one_thread(), check=True, capture_output=True)
    expected = read_checkpoint(folder(tmp_path) / "ckpt_iter_3.pth.tar")["state_dict"]
    content = read_checkpoint(folder(tmp_path) / "ckpt_iter_2.pth.tar")
    for state in content["optimizer"]["state"].values():
        state["momentum_buffer"] = state["momentum_buffer"].contiguous()
    torch.save(content, folder(tmp_path) / "ckpt_iter_2.pth.tar")
    (folder(tmp_path) / "ckpt_iter_3.pth.tar").unlink()
    subprocess.run(words, cwd=ROOT, env=one_thread(), check=True, capture_output=True)
    again = read_checkpoint(folder(tmp_path) / "ckpt_iter_3.pth.tar")["state_dict"]
    assert all(torch.equal(again[name], value) for name, value in expected.items())


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_skipped(run, crops, tmp_path):
    run(*command(crops, tmp_path, "--keep", 2, **{"lr_scheduler.max_iter": 4, "val_freq": 1}))
    kept = sorted(path.name for path in folder(tmp_path).glob("ckpt_*.pth.tar"))
    assert kept == ["ckpt_best.pth.tar", "ckpt_iter_2.pth.tar", "ckpt_iter_3.pth.tar"]
    newest = folder(tmp_path) / "ckpt_iter_3.pth.tar"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    done = run(*command(crops, tmp_path, "--recover", "--extend"))
    assert "ckpt_iter_3.pth.tar is damaged, trying the one before" in done.stdout
    assert "steps 3 to 4" in done.stdout
    for path in folder(tmp_path).glob("ckpt_iter_*.pth.tar"):
        path.write_bytes(b"cut off")
    hopeless = run(*command(crops, tmp_path, "--recover", "--extend"), check=False)
    assert (hopeless.returncode, "is sound: remove them to begin again" in hopeless.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_non_finite_loss_names_step_and_samples(start, crops, tmp_path, workers):
    """And it ends the process, loaders included."""
    rates = {"lr_scheduler.base_lr": "1.0e+30", "lr_scheduler.warmup_lr": "1.0e+30"}
    done = start(*command(crops, tmp_path, workers=workers, **rates), check=False, timeout=60)
    assert done.returncode != 0
    assert "the loss of step 1 is nan" in done.stderr
    assert "samples of step 1 on rank 0: part_0/v" in done.stderr
    assert "Warning" not in done.stderr


# A process's place among the others


def test_place_of_a_slurm_step_of_torchrun_and_alone():
    step = {
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "16",
        "SLURM_LOCALID": "5",
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
    }
    assert place(step) == Place(5, 16, 5, "group-7-0-0-0", False)
    again = step | {"SLURM_RESTART_COUNT": "2", "SLURM_SRUN_COMM_PORT": "4242"}
    assert place(again).meeting == "group-7-0-2-4242"
    batch_script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}
    assert place(batch_script) == place({}) == Place(0, 1, 0, None, False)
    assert place({"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}) == Place(
        1, 2, 1, None, True
    )


def test_an_unusable_distributed_directory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="need --distributed-path"):
        usable(None)
    for folder_name, complaint in (
        (tmp_path / "absent", "is not a directory"),
        (tmp_path / "file", "is not a directory"),
    ):
        with pytest.raises(BadInputError, match=complaint):
            usable(folder_name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="must be absolute"):
        usable(tmp_path.relative_to(tmp_path))


def test_ranks_of_the_reference_that_a_process_stands_in_for():
    cpu = torch.device("cpu")
    assert [list(World(rank, 4, cpu).reference_ranks(8)) for rank in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert list(World(0, 1, cpu).reference_ranks(3)) == [0, 1, 2]
