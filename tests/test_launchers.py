"""What is sent to Slurm: a fake srun records the launches, in a copy of the launchers and configs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_based.config import ImageConfig
from pretrain.download import FILES
from tests.conftest import ROOT
from tests.tiny import checkout, settings, small_slurm, write_crops
from training.config import dump_config, load_config
from training.watch import STOPPED

GOLDEN = Path(__file__).parent / "launches.txt"
KINDS = ("image", "video")


@pytest.fixture
def lab(tmp_path):
    """A copy of what trains, a distributed directory, and an srun that records its arguments and does what SRUN_DOES
    says.
    """
    checkout(tmp_path)
    (tmp_path / "dist").mkdir()
    srun = tmp_path / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(
        '#!/bin/sh\necho "$@" | sed "s/[0-9]\\{8\\}_[0-9]\\{6\\}/NOW/" >> launches\neval "${SRUN_DOES:-}"\n'
    )
    srun.chmod(0o755)
    return tmp_path


def launch(lab, *words, **environment):
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "NTASKS", "GPUS_", "CPUS_"))
    }
    kept |= {"PATH": f"{lab / 'bin'}:{os.environ['PATH']}", "PYTHON": sys.executable} | environment
    words = [str(word) for word in words]
    return subprocess.run(["sh", *words], cwd=lab, env=kept, capture_output=True, text=True, check=False)


def launches(lab):
    return (
        (lab / "launches").read_text().replace(str(lab / "dist"), "DIST").replace(sys.executable, "python").splitlines()
        if (lab / "launches").exists()
        else []
    )


def begin(lab, config, step, *overrides, run="now", experiments="image_based/experiments"):
    """A run's folder as a training with these overrides leaves it after a step."""
    values = load_config(ROOT / f"image_based/configs/{config}.yaml", ImageConfig, overrides)
    folder = lab / experiments / values.save_path / run
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(values))
    (folder / f"ckpt_iter_{step}.pth.tar").touch()
    if step == values.lr_scheduler.max_iter - 1:
        (folder / "finished").write_text(f"{step + 1}\n")
    return folder


def test_the_eleven_launches(lab):
    done = launch(lab, "train.sh", "debug", lab / "dist", "dfdc")
    assert done.returncode == 0, done.stderr
    assert launches(lab) == GOLDEN.read_text().splitlines()
    assert len(launches(lab)) == 11


def write_inputs(lab):
    """Lists of the first training and starting weights, empty."""
    config = load_config(ROOT / "image_based/configs/b0/config.yaml", ImageConfig)
    (lab / "DFDC-Kaggle_list").mkdir()
    for name in (*config.train_lists, *config.val_lists.values()):
        (lab / name).touch()
    for weights in FILES.values():
        (lab / "pretrain" / weights.file).touch()


def test_without_lists_and_starting_weights_nothing_starts(lab):
    """As in a new clone. One message names what is missing, of the weights for all eleven, and what makes it."""
    write_inputs(lab)
    for path in (lab / "DFDC-Kaggle_list").iterdir():
        path.unlink()
    (lab / "pretrain/sf50_k400.pth").unlink()
    done = launch(lab, "train.sh", "debug", lab / "dist")
    assert (done.returncode, done.stdout, launches(lab)) == (2, "", [])
    assert done.stderr.splitlines() == [
        "missing.py: error: 3 files that are read do not exist:",
        "  DFDC-Kaggle_list/: val_30-39_train_alignedface_png.txt, val_30-39_val_alignedface_png.txt",
        "    `python make_lists.py` writes these lists from the videos and faces",
        "  pretrain/: sf50_k400.pth",
        "    `python -m pretrain.download` fetches these weights",
    ]


def test_a_finished_training_needs_no_files(lab):
    write_inputs(lab)
    begin(lab, "xcep/config", 60001)
    (lab / "pretrain/xception-b5690688.pth").unlink()
    assert launch(lab, "train.sh", "debug", lab / "dist").returncode == 0
    assert len(launches(lab)) == 10


def test_numbers_come_from_the_environment(lab):
    more = {
        "NTASKS": "2",
        "GPUS_PER_NODE": "0",
        "NTASKS_PER_NODE": "2",
        "CPUS_PER_TASK": "1",
        "SRUN_ARGS": "--mem=4G -t 10",
    }
    launch(
        lab,
        "video_based/train.sh",
        "video_based/configs/config.yaml",
        "debug",
        lab / "dist",
        TRAIN_ARGS="--set workers=0",
        **more,
    )
    assert launches(lab) == [
        "--mpi=pmi2 -p debug -n2 --ntasks-per-node=2 --cpus-per-task=1 --job-name=train --kill-on-bad-exit=1 "
        "--mem=4G -t 10 python -u -m video_based.main --config video_based/configs/config.yaml "
        "--distributed_path DIST --datetime NOW --set workers=0"
    ]


@pytest.mark.parametrize(
    ("environment", "threads"), [({}, "5"), ({"CPUS_PER_TASK": "3"}, "3"), ({"OMP_NUM_THREADS": "2"}, "2")]
)
def test_a_task_has_as_many_threads_as_cores(lab, monkeypatch, environment, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    words = ("image_based/train.sh", "image_based/configs/b0/config.yaml", "debug", lab / "dist")
    done = launch(lab, *words, SRUN_DOES="echo threads $OMP_NUM_THREADS", **environment)
    assert f"threads {threads}\n" in done.stdout


def test_train_stops_at_the_first_failure_and_keeps_its_status(lab):
    done = launch(lab, "train.sh", "debug", lab / "dist", SRUN_DOES="echo sorry; exit 7")
    assert (done.returncode, len(launches(lab))) == (7, 1)
    (log,) = (lab / "logs").glob("log-*.out")
    assert log.read_text() == "sorry\n" == done.stdout


def test_train_skips_what_is_finished_and_recovers_what_was_begun(lab):
    begin(lab, "b0/config", 60001)
    begin(lab, "b1/config", 2000)
    done = launch(lab, "train.sh", "debug", lab / "dist", SRUN_DOES="exit 3")
    assert "image_based/configs/b0/config.yaml is finished" in done.stdout
    (line,) = launches(lab)
    words = (
        "--config image_based/configs/b1/config.yaml --distributed_path DIST --datetime now --recover --datetime now"
    )
    assert line.endswith(words)


SMOKE = ("lr_scheduler.max_iter=2", "batch_size=2", "input_size=64")


def test_a_smoke_run_is_not_taken_for_the_training(lab):
    """Whether it is finished or was stopped: the training starts beside it."""
    begin(lab, "b0/config", 1, *SMOKE)
    begin(lab, "b0/config", 0, *SMOKE, run="smoke")
    done = launch(lab, "train.sh", "debug", lab / "dist", SRUN_DOES="exit 3")
    assert "is finished" not in done.stdout
    assert launches(lab)[0].endswith(
        "--config image_based/configs/b0/config.yaml --distributed_path DIST --datetime NOW"
    )
    assert "smoke is another training" in done.stderr
    assert "lr_scheduler.max_iter: 2 then, 60002 now" in done.stderr


def test_train_args_say_where_runs_are_looked_for(lab):
    """In another folder of experiments: what is finished there is skipped, and what was begun there goes on."""
    arguments = f"--experiments {lab / 'scratch'} --set workers=0"
    begin(lab, "b0/config", 60001, experiments="scratch")
    begin(lab, "b1/config", 4000, "workers=0", experiments="scratch")
    begin(lab, "b1/config", 60001, "seed=1")
    done = launch(lab, "train.sh", "debug", lab / "dist", SRUN_DOES="exit 3", TRAIN_ARGS=arguments)
    assert f"b0/config.yaml is finished: {lab / 'scratch'}/b0_aug_rgb_299/now" in done.stdout
    (line,) = launches(lab)
    assert "b1/config.yaml --distributed_path DIST --datetime now --recover --datetime now --experiments" in line


def test_recover_goes_on_with_the_newest_run_whatever_its_settings(lab):
    """The newest by checkpoint, not by name. A finished run is left alone. Without a run there is nothing to do."""
    words = ("image_based/recover.sh", "image_based/configs/b0/config.yaml", "debug", lab / "dist")
    nothing = launch(lab, *words)
    assert (nothing.returncode, launches(lab)) == (2, [])
    assert "image_based/experiments/b0_aug_rgb_299 holds no run to recover" in nothing.stderr
    begin(lab, "b0/config", 500, *SMOKE[1:], run="20261125_999999")
    os.utime(begin(lab, "b0/config", 300, "seed=3", run="smoke") / "ckpt_iter_300.pth.tar", (2e9, 2e9))
    assert launch(lab, *words).returncode == 0
    assert launches(lab)[-1].endswith("DIST --recover --datetime smoke")
    refused = launch(lab, *words, "train", "--set", "seed=4", "--set", "momentum=.5")
    assert (refused.returncode, len(launches(lab))) == (2, 1)
    assert "seed: 3 then, 4 now" in refused.stderr
    assert "momentum: 0.9 then, 0.5 now" in refused.stderr
    os.utime(begin(lab, "b0/config", 1, *SMOKE, run="short") / "ckpt_iter_1.pth.tar", (2.1e9, 2.1e9))
    assert launch(lab, *words).returncode == 0  # a finished smoke run is not in the way, though it is newer
    assert launches(lab)[-1].endswith("DIST --recover --datetime smoke")
    done = launch(lab, *words, "train", "--datetime", "short")
    assert (done.returncode, len(launches(lab))) == (0, 2)
    assert "is finished: image_based/experiments/b0_aug_rgb_299/short" in done.stdout
    launch(lab, *words, "train", "--datetime", "short", "--extend", "--set", "lr_scheduler.max_iter=4")
    assert launches(lab)[-1].endswith("--set lr_scheduler.max_iter=4 --recover --datetime short")
    launch(lab, *words, "train", "--datetime", "short", "--evaluate")
    assert launches(lab)[-1].endswith("DIST --datetime short --evaluate --recover")


def test_a_training_that_was_told_to_stop_is_neither_done_nor_failed(lab):
    done = launch(lab, "train.sh", "debug", lab / "dist", SRUN_DOES=f"exit {STOPPED}")
    assert (done.returncode, len(launches(lab))) == (75, 1)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("train.sh", "debug"), "usage: sh train.sh PARTITION DIST_DIR"),
        (("train.sh", "--help", "x"), "usage: sh train.sh PARTITION DIST_DIR"),
        (("image_based/train.sh", "c.yaml", "debug"), "usage: sh image_based/train.sh CONFIG PARTITION DIST_DIR"),
        (("image_based/train.sh", "image_based/configs/b0/config.yaml", "debug", "dist"), "must be absolute"),
        (
            ("image_based/train.sh", "image_based/configs/b0/config.yaml", "debug", "/nowhere"),
            "not a writable directory",
        ),
        (("video_based/recover.sh", "no.yaml", "debug", "DIST"), "no.yaml is missing"),
    ],
)
def test_wrong_calls_are_refused(lab, words, complaint):
    done = launch(lab, *(str(lab / "dist") if word == "DIST" else word for word in words))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert launches(lab) == []


@pytest.mark.slurm
def test_two_tasks_train_on_a_real_slurm(tmp_path, frames, slurm):
    """The real launcher, srun and trainer, with gloo. Leftovers of other jobs are removed; any folder name will do."""
    crops = write_crops(tmp_path, frames)
    dist = tmp_path / "x user@uni+é #%41"
    dist.mkdir()
    (dist / "group-999999-0-0-0").touch()  # left by a job that Slurm does not know
    sets = settings(crops, **{"lr_scheduler.max_iter": 3})
    environment = small_slurm(slurm, 2, *sets, "--experiments", tmp_path / "runs")
    words = ["sh", "image_based/train.sh", "image_based/configs/b0/config.yaml", "debug", str(dist)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes for the reference's 2" in done.stdout
    assert "done: 3 steps" in done.stdout
    assert list(tmp_path.glob("runs/b0_aug_rgb_299/*/finished"))
    assert list(dist.iterdir()) == []


@pytest.mark.slurm
def test_the_batch_job_puts_8_tasks_on_one_of_its_nodes_and_16_on_both(tmp_path, slurm):
    """With the reference's numbers; a fake Python says where it runs."""
    checkout(tmp_path)
    (tmp_path / "dist").mkdir()
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho " $SLURM_PROCID/$SLURM_STEP_NUM_TASKS $SLURMD_NODENAME $SLURM_CPUS_PER_TASK '
        '$CUDA_VISIBLE_DEVICES"\n'
    )
    python.chmod(0o755)
    environment = {name: value for name, value in slurm.items() if not name.startswith(("NTASKS", "GPUS_", "CPUS_"))}
    words = ["sbatch", "--wait", "--output=batch.log", "train.sbatch", "debug", str(tmp_path / "dist")]
    done = subprocess.run(words, cwd=tmp_path, env=environment | {"PYTHON": str(python)}, timeout=120, check=False)
    log = (tmp_path / "batch.log").read_text()
    assert done.returncode == 0, log
    gpus = "0,1,2,3,4,5,6,7"
    for task in range(16):
        node = f"n{1 + task // 8}"
        assert log.count(f" {task}/16 {node} 5 {gpus}\n") == 4
        assert log.count(f" {task}/8 n1 5 {gpus}\n") + log.count(f" {task}/8 n2 5 {gpus}\n") == (7 if task < 8 else 0)
