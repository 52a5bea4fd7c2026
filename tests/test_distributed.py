"""Several processes: they take the steps that one takes, validate every sample once, and stop together."""

import csv
import os
import signal
import subprocess
import sys

import cv2
import pytest
import torch

from common.errors import BadInputError
from tests.conftest import ROOT, wait_for
from training.checkpoint import read_checkpoint
from training.distributed import Place, World, checked, place

CONFIG = ROOT / "image_based/configs/b0/config.yaml"


@pytest.fixture(scope="module")
def crops(tmp_path_factory, frames):
    """Five videos of one track of two crops each, and their list."""
    root = tmp_path_factory.mktemp("crops")
    lines = []
    for number in range(5):
        folder = root / f"faces/part_0/v{number}"
        folder.mkdir(parents=True)
        for frame in (1, 2):
            cv2.imwrite(str(folder / f"frame{frame}_face1.png"), frames[2 * number + frame][60:300, 200:440])
        lines.append(f"part_0/v{number}/frame%d_face1.png 1 1 2 {number % 2}")
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    return root


def command(crops, experiments, *more, **values):
    settings = {
        "pretrained": "null", "train_root": crops / "faces", "val_root": crops / "faces", "train_list": crops / "list.txt",
        "val_lists": f"{{held_out: {crops / 'list.txt'}}}", "input_size": 64, "batch_size": 2, "reference_world_size": 2,
        "lr_scheduler.max_iter": 5, "print_freq": 1, "val_freq": 100, "workers": 0,
    } | values  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return ["-m", "image_based.main", "--config", CONFIG, "--experiments", experiments, "--datetime", "now", *sets, *more]


def torchrun(processes, arguments, **options):
    words = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", *arguments]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(word) for word in words], cwd=ROOT, env=environment, capture_output=True, text=True, **options)


def folder(experiments):
    return experiments / "b0_aug_rgb_299/now"


def rows(experiments, step):
    return list(csv.DictReader((folder(experiments) / f"ckpt_iter_{step}_held_out.csv").open()))


@pytest.fixture(scope="module")
def alone(crops, tmp_path_factory):
    """The run of one process, which stands in for the reference's two."""
    root = tmp_path_factory.mktemp("alone")
    words = [sys.executable, *command(crops, root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([str(word) for word in words], cwd=ROOT, env=environment, check=True, capture_output=True)
    return root


def test_two_processes_take_the_steps_of_one(crops, alone, tmp_path):
    """The same parameters after five steps, dropout and all; the same score for every video."""
    done = torchrun(2, command(crops, tmp_path), check=False)
    assert done.returncode == 0, done.stderr
    assert "2 processes for the reference's 2" in done.stdout
    one, two = (read_checkpoint(folder(root) / "ckpt_iter_4.pth.tar") for root in (alone, tmp_path))
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name].float(), value.float(), atol=1e-6, rtol=1e-5, msg=name)
    assert [row["video"] for row in rows(tmp_path, 4)] == [f"part_0/v{number}" for number in range(5)]
    for ours, expected in zip(rows(tmp_path, 4), rows(alone, 4), strict=True):
        assert float(ours["probability"]) == pytest.approx(float(expected["probability"]), abs=1e-5)


def test_three_processes_cannot_stand_in_for_two(crops, tmp_path):
    done = torchrun(3, command(crops, tmp_path), check=False)
    assert done.returncode != 0
    assert "3 processes cannot stand in for the reference's 2: use one of [1, 2]" in done.stderr
    assert not folder(tmp_path).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_told_to_stop_saves_and_goes_on_to_the_same_weights(crops, alone, tmp_path, number):
    words = [str(word) for word in (sys.executable, *command(crops, tmp_path))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (log := folder(tmp_path) / "log.txt").exists() and "step 1/4" in log.read_text())
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "told to stop, saved" in output
    assert (folder(tmp_path) / "requeue").is_file()
    again = subprocess.run([*words, "--recover"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert "going on after" in again.stdout
    assert not (folder(tmp_path) / "requeue").exists()
    assert (folder(tmp_path) / "finished").is_file()
    ours, expected = (read_checkpoint(folder(root) / "ckpt_iter_4.pth.tar")["state_dict"] for root in (tmp_path, alone))
    assert all(torch.equal(ours[name], value) for name, value in expected.items())


def test_a_damaged_newest_checkpoint_is_passed_over(run, crops, tmp_path):
    run(*command(crops, tmp_path, "--keep", 2, **{"lr_scheduler.max_iter": 4, "val_freq": 1}))
    kept = sorted(path.name for path in folder(tmp_path).glob("ckpt_*.pth.tar"))
    assert kept == ["ckpt_best.pth.tar", "ckpt_iter_2.pth.tar", "ckpt_iter_3.pth.tar"]
    newest = folder(tmp_path) / "ckpt_iter_3.pth.tar"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    done = run(*command(crops, tmp_path, "--recover"))
    assert "ckpt_iter_3.pth.tar is damaged, trying the one before" in done.stdout
    assert "steps 3 to 4" in done.stdout


def test_a_non_finite_loss_names_step_and_samples(run, crops, tmp_path):
    rates = {"lr_scheduler.base_lr": "1.0e+30", "lr_scheduler.warmup_lr": "1.0e+30"}
    done = run(*command(crops, tmp_path, **rates), check=False)
    assert done.returncode != 0
    assert "the loss of step 1 is nan" in done.stderr
    assert "samples of step 1 on rank 0: part_0/v" in done.stderr


# Where a process stands


def test_place_of_a_slurm_step_of_torchrun_and_alone():
    step = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "5", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
    assert place(step) == Place(5, 16, 5, "group-7-0-0-0", False)
    again = step | {"SLURM_RESTART_COUNT": "2", "SLURM_SRUN_COMM_PORT": "4242"}
    assert place(again).meeting == "group-7-0-2-4242"
    batch_script = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"}
    assert place(batch_script) == place({}) == Place(0, 1, 0, None, False)
    assert place({"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}) == Place(1, 2, 1, None, True)


def test_a_directory_that_cannot_serve_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="need --distributed_path"):
        checked(None)
    for folder_name, complaint in ((tmp_path / "absent", "is not a directory"), (tmp_path / "file", "is not a directory")):
        with pytest.raises(BadInputError, match=complaint):
            checked(folder_name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInputError, match="must be absolute"):
        checked(tmp_path.relative_to(tmp_path))


def test_shares_of_the_references_processes():
    cpu = torch.device("cpu")
    assert [list(World(rank, 4, cpu).shares(8)) for rank in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert list(World(0, 1, cpu).shares(3)) == [0, 1, 2]
