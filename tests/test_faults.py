"""What can go wrong with a training on a cluster, on a real Slurm. Afterwards it reaches exactly the weights of an
undisturbed run.
"""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, wait_for
from tests.tiny import CONFIG, checkout, settings, small_slurm, write_crops
from training.checkpoint import read_checkpoint
from training.run_folders import checkpoints

pytestmark = pytest.mark.slurm
STEPS = 60


class Lab:
    """A copy of what trains, and a real Slurm for a short b0 training of two tasks."""

    def __init__(self, slurm, crops, root):
        self.root, self.dist = checkout(root), root / "dist"
        self.dist.mkdir()
        self.runs = root / "image_based/experiments/b0_aug_rgb_299"
        values = {"lr_scheduler.max_iter": STEPS, "val_freq": 10}
        self.environment = small_slurm(slurm, 2, *settings(crops, **values), "--stall-timeout", 20)

    def use_loader_processes(self):
        """Train with loader processes, which Slurm signals too."""
        self.environment["TRAIN_ARGS"] += " --set workers=1"

    @property
    def folder(self):
        return max(self.runs.glob("*"), default=None)

    def launch(self, script="train"):
        """Start a launcher in the foreground."""
        words = ["sh", f"image_based/{script}.sh", CONFIG, "debug", str(self.dist)]
        log = (self.root / f"{script}.log").open("w")
        return subprocess.Popen(words, cwd=self.root, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

    def submit(self, *options, **more):
        """Submit the batch script; return the job's number."""
        words = [
            "sbatch",
            "--parsable",
            "--output=batch.log",
            "-N1",
            "-n2",
            "--gres=none",
            *options,
            "train.sbatch",
            "debug",
        ]
        words.append(str(self.dist))
        done = subprocess.run(
            words, cwd=self.root, env=self.environment | more, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def says(self, *words):
        """The output of one of Slurm's commands."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def log(self, script="train"):
        return (self.root / f"{script}.log").read_text()

    def reached(self, step):
        return self.folder and (log := self.folder / "log.txt").exists() and f"step {step}/" in log.read_text()

    def weights(self):
        assert (self.folder / "finished").is_file()
        return read_checkpoint(self.folder / f"ckpt_iter_{STEPS - 1}.pth.tar")


def ranks(lab):
    """The processes of a lab's training by rank, without loader processes."""
    processes = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words, variables = (
                (entry / "cmdline").read_bytes().split(b"\0"),
                (entry / "environ").read_bytes().split(b"\0"),
            )
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            started_by = Path(f"/proc/{parent}/cmdline").read_bytes()
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        if str(lab.dist).encode() in words and b"-m" in words:
            place = dict(word.split(b"=", 1) for word in variables if b"=" in word)
            if b"SLURM_PROCID" in place and b"slurmstepd" in started_by:
                processes[int(place[b"SLURM_PROCID"])] = int(entry.name)
    return processes


def same(ours, expected):
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in expected["state_dict"].items())
    momentum = expected["optimizer"]["state"]
    assert all(
        torch.equal(ours["optimizer"]["state"][key]["momentum_buffer"], momentum[key]["momentum_buffer"])
        for key in momentum
    )


@pytest.fixture(scope="module")
def crops(tmp_path_factory, frames):
    return write_crops(tmp_path_factory.mktemp("crops"), frames)


@pytest.fixture
def lab(slurm, crops, tmp_path):
    return Lab(slurm, crops, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(slurm, crops, tmp_path_factory):
    lab = Lab(slurm, crops, tmp_path_factory.mktemp("undisturbed"))
    assert lab.launch().wait(timeout=180) == 0, lab.log()
    return lab.weights()


def kill_one(lab):
    os.kill(ranks(lab)[1], signal.SIGKILL)


def kill_all(lab):
    for process in ranks(lab).values():
        os.kill(process, signal.SIGKILL)


def stop_one(lab):
    os.kill(ranks(lab)[1], signal.SIGSTOP)


def cancel(lab):
    lab.says("scancel", lab.says("squeue", "--noheader", "--format=%A"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill_one, kill_all, stop_one, cancel])
def test_a_training_recovers_from(fault, lab, undisturbed):
    if fault is cancel:
        lab.use_loader_processes()
    process = lab.launch()
    wait_for(lambda: lab.reached(25), 240)
    assert len(ranks(lab)) == 2
    fault(lab)
    began = time.monotonic()
    status = process.wait(timeout=90)
    assert time.monotonic() - began < 60
    assert status != 0, lab.log()
    wait_for(lambda: not ranks(lab) and not lab.says("squeue", "--noheader"), 30)
    newest = checkpoints(lab.folder)[0]
    if fault is kill_all:
        assert list(lab.dist.iterdir()), "the dead leave their meeting file"
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        newest = checkpoints(lab.folder)[1]
    if fault is cancel:
        assert (lab.folder / "requeue").is_file()
        assert newest.name not in ("ckpt_iter_10.pth.tar", "ckpt_iter_20.pth.tar"), (
            "it should have saved where it was told to stop"
        )
    if fault is stop_one:
        assert "rank 0: stalled: nothing was done for 20 s; the threads stand at\n" in lab.log()
        assert re.search(r"rank 0: thread MainThread\n(rank 0:   .*\n)+rank 0:     _?\w+", lab.log())
    assert lab.launch("recover").wait(timeout=180) == 0, lab.log("recover")
    assert f"going on after {newest.relative_to(lab.root)}" in lab.log("recover")
    assert list(lab.dist.iterdir()) == []
    same(lab.weights(), undisturbed)


def kill_node(lab, job):
    """Kill the daemon of the job's node, its step daemons and all that they started at once, as a power cut does."""
    node = lab.says("squeue", "--noheader", "--format=%N", f"--jobs={job}")
    spool = f"/tmp/{lab.environment['SLURM_LAB'].rpartition('/')[2]}"
    daemon = int(Path(f"{spool}/slurmd-{node}.pid").read_text())
    steps = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and is_step_of(entry, job)]
    for process in (daemon, *steps, *ranks(lab).values()):
        os.kill(process, signal.SIGKILL)


def is_step_of(entry, job):
    try:
        return f"slurmstepd: [{job}." in (entry / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False


@pytest.mark.slow
def test_a_batch_job_told_to_stop_requeues_itself(lab, undisturbed):
    lab.use_loader_processes()
    job = lab.submit()
    wait_for(lambda: lab.reached(15), 240)
    lab.says("scancel", "--batch", "--signal=USR1", job)  # what --signal=B:USR1@120 sends before the time limit
    wait_for(lambda: (lab.folder / "finished").exists(), 180)
    assert "told to stop, saved" in lab.log("batch")
    assert "train.sbatch: status 75, queueing again" in lab.log("batch")
    assert f"job {job} on n1, queued again 1 times" in lab.log("batch")
    assert len(list(lab.runs.iterdir())) == 1
    same(lab.weights(), undisturbed)


def launch_with(lab, setting):
    lab.environment["TRAIN_ARGS"] += f" --set {setting}"
    return lab.launch().wait(timeout=90)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("train_list=absent.txt", "1 file that the training reads does not exist:\n  ./: absent.txt"),
        ("pretrained=absent.pth", "1 file that the training reads does not exist:\n  ./: absent.pth"),
    ],
)
def test_errors_that_starting_again_cannot_fix_have_status_2(lab, setting, complaint):
    """In both processes, whichever comes first; Slurm does not have to kill either of them."""
    assert launch_with(lab, setting) == 2, lab.log()
    assert complaint in lab.log()
    assert lab.folder is None
    assert list(lab.dist.iterdir()) == []


def test_a_job_with_a_wrong_config_is_not_requeued(lab):
    lab.environment["TRAIN_ARGS"] += " --set batchsize=8"
    job = lab.submit()
    wait_for(lambda: "JobState=FAILED" in lab.says("scontrol", "show", "job", job), 90)
    assert "ExitCode=2:0" in lab.says("scontrol", "show", "job", job)
    assert "unknown key 'batchsize', the nearest known one is 'batch_size'" in lab.log("batch")
    assert "not queued again" in lab.log("batch")
    assert "queued again 1 times" not in lab.log("batch")


@pytest.mark.slow
def test_a_batch_job_survives_the_death_of_a_rank_and_gives_up_in_the_end(lab):
    job = lab.submit(MAX_REQUEUES="1")
    for requeues in (0, 1):
        wait_for(lambda: len(ranks(lab)) == 2, 120)
        kill_one(lab)
        wait_for(lambda ends=requeues + 1: lab.log("batch").count("train.sbatch: status") == ends, 60)
    assert "queueing again" in lab.log("batch")
    assert "queued again 1 times already: giving up" in lab.log("batch")
    wait_for(lambda: "JobState=FAILED" in lab.says("scontrol", "show", "job", job), 30)


@pytest.mark.slow
def test_a_cancelled_batch_job_stays_cancelled(lab):
    job = lab.submit()
    wait_for(lambda: lab.reached(15), 240)
    lab.says("scancel", job)
    wait_for(lambda: (lab.folder / "requeue").exists(), 30)
    wait_for(lambda: "JobState=CANCELLED" in lab.says("scontrol", "show", "job", job), 30)
    assert "queueing again" not in lab.log("batch")


@pytest.mark.slow
def test_a_batch_job_survives_the_loss_of_its_node(lab, undisturbed):
    job = lab.submit()
    wait_for(lambda: lab.reached(15), 240)
    kill_node(lab, job)
    try:
        wait_for(lambda: (lab.folder / "finished").exists(), 240)
    finally:
        subprocess.run(["sh", "slurm/cluster.sh", "up"], cwd=ROOT, env=lab.environment, check=True)
    assert "going on after" in lab.log("batch")
    same(lab.weights(), undisturbed)


@pytest.mark.slow
def test_a_preempted_batch_job_goes_on(lab, undisturbed):
    """A job in the partition `urgent` takes the nodes for a second."""
    lab.use_loader_processes()
    lab.submit()
    wait_for(lambda: lab.reached(15), 240)
    lab.says("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    wait_for(lambda: "told to stop, saved" in lab.log("batch"), 60)
    wait_for(lambda: (lab.folder / "finished").exists(), 240)
    same(lab.weights(), undisturbed)
