"""Runs and their folders: what may go on with what, one training per folder, marks that are true."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

import common.workers
from common.errors import BadInputError
from common.lock import locked
from image_based.config import ImageConfig
from tests.conftest import ROOT, wait_for
from tests.tiny import CONFIG, command, one_thread, write_crops
from training.checkpoint import read_checkpoint, save_checkpoint
from training.config import dump_config, load_config
from training.loading import loader_processes
from training.run import TrainingRun
from training.run_folders import RunSearch, differences, is_finished, last_step, progress_of


@pytest.fixture(scope="module")
def crops(tmp_path_factory, frames):
    return write_crops(tmp_path_factory.mktemp("crops"), frames)


def folder(root, name="now"):
    return root / f"b0_aug_rgb_299/{name}"


def short(**values):
    return {"reference_world_size": 1, "lr_scheduler.max_iter": 3, "val_lists": "{}"} | values


def train(run, crops, root, *more, check=True, **values):
    return run(*command(crops, root, *more, **short(**values)), check=check)


def again(run, crops, root, *more, check=True, **values):
    """Recover with only these overrides."""
    words = ["-m", "image_based.main", "--config", ROOT / CONFIG, "--experiments", root, "--recover"]
    overrides = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    return run(*words, *overrides, *more, check=check)


# What goes on with what


def test_recovery_takes_the_runs_own_config(run, crops, tmp_path):
    """Overrides need not be repeated. The run's config.yaml counts, not the file of --config, and a line says so."""
    train(run, crops, tmp_path, momentum=0.8)
    kept = (folder(tmp_path) / "config.yaml").read_bytes()
    (folder(tmp_path) / "ckpt_iter_2.pth.tar").rename(folder(tmp_path) / "ckpt_iter_1.pth.tar")
    done = again(run, crops, tmp_path)
    assert "steps 2 to 2" in done.stdout
    assert f"now/config.yaml counts, not {ROOT / CONFIG}, which differs from it in pretrained" in done.stdout
    assert (folder(tmp_path) / "config.yaml").read_bytes() == kept
    group = read_checkpoint(folder(tmp_path) / "ckpt_iter_2.pth.tar")["optimizer"]["param_groups"][0]
    assert group["momentum"] == 0.8


def test_recovery_with_other_settings_is_refused_and_changes_nothing(run, crops, tmp_path):
    train(run, crops, tmp_path)
    before = {path.name: path.read_bytes() for path in folder(tmp_path).iterdir()}
    other = {"weight_decay": 0.5, "momentum": 0.0, "nesterov": "false", "seed": 7, "batch_size": 4,
             "input_size": 96, "color": "bgr", "lr_scheduler.max_iter": 5}  # fmt: skip
    refused = again(run, crops, tmp_path, check=False, **other)
    assert refused.returncode == 2
    for key, then, now in (
        ("weight_decay", 0.0001, 0.5), ("momentum", 0.9, 0.0), ("nesterov", True, False), ("seed", 0, 7),
        ("batch_size", 2, 4), ("input_size", 64, 96), ("color", "rgb", "bgr"), ("lr_scheduler.max_iter", 3, 5),
    ):  # fmt: skip
        assert f"{key}: {then} then, {now} now" in refused.stderr
    extended = again(run, crops, tmp_path, "--extend", check=False, **other)
    assert extended.returncode == 2
    assert "seed: 0 then, 7 now" in extended.stderr
    assert "max_iter" not in extended.stderr  # that may be extended
    assert {path.name: path.read_bytes() for path in folder(tmp_path).iterdir()} == before


def test_an_extended_run_keeps_its_earlier_config(run, crops, tmp_path, monkeypatch):
    """Marks are always true: `finished` is gone while the longer schedule runs, and `requeue` is then the only mark."""
    train(run, crops, tmp_path)
    assert (folder(tmp_path) / "finished").read_text() == "3\n"
    before = (folder(tmp_path) / "config.yaml").read_text()
    longer = {"lr_scheduler.max_iter": 7, "print_freq": 2, "workers": 1}
    assert again(run, crops, tmp_path, check=False, **longer).returncode == 2
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "after_step", lambda self: not (folder(tmp_path) / "finished").exists())
        stopped = again(run, crops, tmp_path, "--extend", check=False, **longer)
    assert stopped.returncode == 75
    assert "extended after step 2: lr_scheduler.max_iter: 3 then, 7 now" in stopped.stdout
    assert {"finished", "requeue"} & {path.name for path in folder(tmp_path).iterdir()} == {"requeue"}
    assert (folder(tmp_path) / "config-2.yaml").read_text() == before
    assert yaml.safe_load((folder(tmp_path) / "config.yaml").read_text())["lr_scheduler"]["max_iter"] == 7
    again(run, crops, tmp_path)
    assert {"finished", "requeue"} & {path.name for path in folder(tmp_path).iterdir()} == {"finished"}
    assert (folder(tmp_path) / "finished").read_text() == "7\n"


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({"lr_scheduler.lr_steps": "[5]", "lr_scheduler.lr_mults": "[.5]"}, True),
        ({"lr_scheduler.lr_steps": "[2]", "lr_scheduler.lr_mults": "[.5]"}, False),
        ({"lr_scheduler.warmup_lr": 0.5}, False),
        ({"lr_scheduler.max_iter": 2}, False),
        ({"lr_scheduler.max_iter": 9, "lr_scheduler.cosine": "true"}, False),
        (
            {"val_freq": 7, "print_freq": 9, "val_lists": "{}", "train_root": "/moved", "train_list": "/moved/list"},
            True,
        ),
    ],
)
def test_an_extension_may_not_touch_trained_steps(tmp_path, values, allowed):
    """Steps 0 to 3 are trained: their learning rates may not change afterwards."""
    kept = load_config(ROOT / CONFIG, ImageConfig, ["lr_scheduler.max_iter=6", "lr_scheduler.warmup_steps=1"])
    now = folder(tmp_path)
    now.mkdir(parents=True)
    (now / "config.yaml").write_text(dump_config(kept))
    (now / "ckpt_iter_3.pth.tar").touch()
    words = [f"{key}={value}" for key, value in values.items()]
    search = RunSearch(ROOT / CONFIG, words, tmp_path, None, ImageConfig)
    if allowed:
        chosen = search.recovered(extend=True)
        assert differences(chosen.before, chosen.config)
        assert (chosen.folder, last_step(chosen.folder)) == (now, 3)
    else:
        with pytest.raises(BadInputError, match="is another training; start a new run for it"):
            search.recovered(extend=True)
    with pytest.raises(BadInputError, match="is another training"):
        search.recovered(extend=False)


def test_settings_come_from_the_config_not_from_the_checkpoint(run, crops, tmp_path):
    train(run, crops, tmp_path)
    path = folder(tmp_path) / "ckpt_iter_2.pth.tar"
    content = read_checkpoint(path)
    content["optimizer"]["param_groups"][0] |= {"weight_decay": 0.5, "momentum": 0.1, "nesterov": False}
    save_checkpoint(folder(tmp_path) / "ckpt_iter_1.pth.tar", content, best=False)
    path.unlink()
    again(run, crops, tmp_path)
    group = read_checkpoint(path)["optimizer"]["param_groups"][0]
    assert (group["weight_decay"], group["momentum"], group["nesterov"]) == (0.0001, 0.9, True)


def test_the_state_of_a_training(tmp_path):
    """A smoke run belongs to another training. A finished run counts before a newer unfinished one."""

    def leave(name, step, age, *overrides):
        values = load_config(ROOT / CONFIG, ImageConfig, overrides)
        run = folder(tmp_path, name)
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(dump_config(values))
        checkpoint = run / f"ckpt_iter_{step}.pth.tar"
        checkpoint.touch()
        os.utime(checkpoint, (age, age))
        if step == values.lr_scheduler.max_iter - 1:
            (run / "finished").write_text(f"{step + 1}\n")
        return run

    def state(*overrides, recover=False, extend=False):
        return progress_of(RunSearch(ROOT / CONFIG, overrides, tmp_path, None, ImageConfig), recover, extend)

    assert str(state()) == "start"
    smoke = leave("smoke", 1, 5e8, "lr_scheduler.max_iter=2", "seed=1")
    assert str(state()) == "start"
    assert "lr_scheduler.max_iter: 2 then, 60002 now" in state().notes[0]
    assert str(state("lr_scheduler.max_iter=2", "seed=1")) == f"finished {smoke}"
    assert str(state(recover=True)) == f"finished {smoke}"
    old = leave("20261125_999999", 400, 1e8)
    newer = leave("20261124_000000", 300, 2e8, "print_freq=7", "workers=0")
    assert str(state()) == f"recover {newer}"  # the newest checkpoint, not the last name
    done = leave("done", 60001, 1e7)
    assert str(state()) == f"finished {done}"
    (done / "finished").write_text("2\n")  # the mark of a shorter schedule
    assert not is_finished(done, load_config(ROOT / CONFIG, ImageConfig))
    assert str(state()) == f"recover {newer}"
    (newer / "ckpt_iter_old.pth.tar").touch()  # a name that a user chose
    assert str(state(recover=True)) == f"recover {newer}"  # finished smoke runs are not in the way
    begun = leave("begun", 0, 9e8, "lr_scheduler.max_iter=2", "seed=1")
    assert str(state(recover=True)) == f"recover {newer}"
    assert str(state("lr_scheduler.max_iter=2", "seed=1", recover=True)) == f"recover {begun}"
    assert str(state("val_lists={}")) == "start"  # other data
    assert str(state("val_lists={}", extend=True)) == f"recover {newer}"
    (old / "config.yaml").write_text("arch: [")
    assert any("20261125_999999 is another training" in line for line in state().notes)
    assert str(state("lr_scheduler.max_iter=70000", extend=True)) == f"recover {newer}"


def test_an_evaluation_takes_the_newest_run(tmp_path):
    """Finished or not, as --help says; recovery prefers an unfinished one."""
    wanted = load_config(ROOT / CONFIG, ImageConfig)
    for age, name in ((200, "begun"), (100, "whole")):
        run = folder(tmp_path, name)
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(dump_config(wanted))
        path = run / "ckpt_iter_60001.pth.tar"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    (folder(tmp_path, "whole") / "finished").write_text("60002\n")
    search = RunSearch(ROOT / CONFIG, (), tmp_path, None, ImageConfig)
    assert search.newest().folder.name == "whole"
    assert search.existing().folder.name == "begun"
    assert search._replace(datetime="begun").newest().folder.name == "begun"
    with pytest.raises(BadInputError, match="b0_aug_rgb_299/other has no checkpoint"):
        search._replace(datetime="other").newest()


def test_the_state_command_is_quick_and_takes_the_trainers_options(start, tmp_path):
    words = ("-m", "training.state", ROOT / "video_based/configs/config.yaml", "--compile", "--experiments", tmp_path)
    done = start(*words, "--set", "workers=0")
    assert done.stdout == "start\n"
    wrong = start("-m", "training.state", tmp_path / "no.yaml", check=False)
    assert (wrong.returncode, "no.yaml" in wrong.stderr) == (2, True)


# One training per folder


def test_a_second_training_in_the_folder_is_refused(run, crops, tmp_path):
    train(run, crops, tmp_path)
    with training_in(folder(tmp_path)):
        refused = again(run, crops, tmp_path, check=False)
    assert refused.returncode == 2
    assert f"is being trained already, by host {os.uname().nodename}, process {os.getpid()}" in refused.stderr
    assert again(run, crops, tmp_path).returncode == 0


@pytest.mark.slow
def test_two_real_trainings_of_one_run(crops, tmp_path):
    """The second names the first and ends with status 2; the first goes on. After its death, recovery just works."""
    words = [sys.executable, *command(crops, tmp_path, **short(**{"lr_scheduler.max_iter": 4000, "val_freq": 2}))]
    first = subprocess.Popen(words, cwd=ROOT, env=one_thread(), stdout=subprocess.DEVNULL)
    try:
        wait_for((folder(tmp_path) / "ckpt_iter_2.pth.tar").exists, 120)
        second = subprocess.run(
            [*words, "--recover"], cwd=ROOT, env=one_thread(), capture_output=True, text=True, check=False
        )
        assert (second.returncode, f"process {first.pid}" in second.stderr) == (2, True), second.stderr
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    third = subprocess.Popen([*words, "--recover"], cwd=ROOT, env=one_thread(), stdout=subprocess.PIPE, text=True)
    wait_for(lambda: f"process {third.pid}" in (folder(tmp_path) / "lock").read_text(), 120)
    third.send_signal(signal.SIGTERM)
    assert (third.communicate()[0].count("going on after"), third.returncode) == (1, 75)


def training_in(folder):
    return locked(folder / "lock", f"{folder} is being trained already")


def test_without_locks_a_file_names_the_holder(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with training_in(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / "holder").read_text()
        with (
            pytest.raises(BadInputError, match=rf"by host .*, process {os.getpid()}.*if that is gone, remove .*holder"),
            training_in(tmp_path),
        ):
            pass
    assert not (tmp_path / "holder").exists()
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "holder").write_text(f"host {os.uname().nodename}, process {dead.pid}, since yesterday\n")
    with training_in(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / "holder").read_text()
    (tmp_path / "holder").write_text("host elsewhere, process 1, since yesterday\n")
    with pytest.raises(BadInputError, match="by host elsewhere, process 1"), training_in(tmp_path):
        pass
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    (tmp_path / "holder").write_text("host lost, process 1, job 12 queued again 0 times, since yesterday\n")
    with training_in(tmp_path):  # this job before it was queued again
        assert "job 12 queued again 1 times" in (tmp_path / "holder").read_text()
    (tmp_path / "holder").write_text("host lost, process 1, job 11 queued again 0 times, since yesterday\n")
    with pytest.raises(BadInputError, match="job 11"), training_in(tmp_path):
        pass


# Validation, disks, cores


def test_a_validation_set_without_readable_crops_is_refused_before_anything_is_written(run, crops, tmp_path):
    lists = f"{{held_out: {crops / 'list.txt'}}}"
    refused = train(run, crops, tmp_path, check=False, val_lists=lists, val_root="/no/such/folder")
    assert refused.returncode == 2
    assert f"none of 10 crops tried of {crops / 'list.txt'} is readable in /no/such/folder (val_root)" in refused.stderr
    assert not folder(tmp_path).exists()


def test_a_validation_set_with_too_many_unreadable_crops_is_refused(run, crops, tmp_path):
    """More than max_bad_fraction. The checkpoint stays; there is no best one and no table."""
    gone = [f"part_0/gone{number}/frame%d_face1.png 1 1 1 0" for number in range(3)]
    (tmp_path / "val.txt").write_text("\n".join([(crops / "list.txt").read_text().strip(), *gone]) + "\n")
    lists = f"{{held_out: {tmp_path / 'val.txt'}}}"
    refused = train(run, crops, tmp_path, check=False, val_lists=lists)
    assert refused.returncode == 2
    assert "3 of 13 validation samples are unreadable" in refused.stderr
    assert "part_0/gone0, part_0/gone1, part_0/gone2" in refused.stderr
    assert {path.name for path in folder(tmp_path).glob("ckpt*")} == {"ckpt_iter_2.pth.tar"}
    assert not (folder(tmp_path) / "finished").exists()
    assert again(run, crops, tmp_path, "--extend", max_bad_fraction=0.01).returncode == 0


def test_a_full_disk_is_reported_and_keeps_earlier_checkpoints(tmp_path):
    """On a file system of 3 MB there is no room for a second checkpoint. The first stays, and no part of the second."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        content = {"state_dict": {"weight": torch.zeros(500_000)}}
        save_checkpoint(disk / "ckpt_iter_1.pth.tar", content, best=False)
        with pytest.raises(OSError, match=r"disk full: .*ckpt_iter_2.pth.tar needs 2 MB and 1 MB are free") as caught:
            save_checkpoint(disk / "ckpt_iter_2.pth.tar", content, best=False)
        assert caught.value.errno == errno.ENOSPC
        assert [path.name for path in disk.iterdir()] == ["ckpt_iter_1.pth.tar"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_loaders_respect_the_config_and_the_containers_quota(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(128)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(common.command, "CGROUPS", tmp_path)
    monkeypatch.setattr(common.command, "PROCESS", tmp_path)
    assert common.command.cores() == 128
    assert [loader_processes(workers) for workers in (0, 1, 4, "auto")] == [0, 1, 4, 127]
    (tmp_path / "cgroup").write_text("0::/pod/box\n")
    (tmp_path / "pod/box").mkdir(parents=True)
    (tmp_path / "pod/box/cpu.max").write_text("max 100000\n")
    assert common.command.cores() == 128
    (tmp_path / "pod/cpu.max").write_text("450000 100000\n")
    assert common.command.cores() == 5  # the group above has 4.5
    assert [loader_processes(workers) for workers in (1, 16, "auto")] == [1, 4, 4]
    (tmp_path / "pod/cpu.max").unlink()
    (tmp_path / "cgroup").write_text("4:cpu,cpuacct:/box\n")
    (tmp_path / "cpu/box").mkdir(parents=True)
    for name, value in (("quota", 250000), ("period", 100000)):
        (tmp_path / f"cpu/box/cpu.cfs_{name}_us").write_text(f"{value}\n")
    assert common.command.cores() == 3


def test_odd_lists_cause_warnings(run, crops, tmp_path):
    lines = [line for line in (crops / "list.txt").read_text().splitlines() if line.endswith(" 0")]
    (tmp_path / "real.txt").write_text("\n".join(lines) + "\n")
    lists = f"{{held_out: {tmp_path / 'real.txt'}}}"
    done = train(run, crops, tmp_path, train_list=tmp_path / "real.txt", val_lists=lists, batch_size=8)
    assert "warning: train_list holds only REAL" in done.stdout
    assert "warning: val_lists.held_out holds only REAL" in done.stdout
    assert "warning: a batch of 8 is larger than the data, 6 samples" in done.stdout


def test_missing_ranks_are_named(crops, tmp_path):
    """Rank 0 of three is alone. It says which ranks are missing before the watchdog ends it."""
    environment = one_thread() | {
        "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "1",
    }  # fmt: skip
    words = [sys.executable, *command(crops, tmp_path, "--stall-timeout", 10, "--distributed-path", tmp_path)]
    began = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "rank 0 of 3 waited 9 s at the meeting: ranks 1, 2 never came" in done.stderr
    assert done.returncode not in (0, 2)
    assert time.monotonic() - began < 40
