"""reproduce.sh runs every stage in order, and inference.collect finds the checkpoints that the ensemble takes."""

import os
import shutil
import subprocess
import sys

import pytest

from image_based.config import ImageConfig
from inference.members import MEMBERS
from tests.conftest import ROOT
from tests.tiny import checkout
from training.config import dump_config, load_config

RECORDS = """#!/bin/sh
case "$*" in *training.state*) exec {python} "$@" ;; esac
echo "{name} $*" >> {calls}
case "$*" in *"${{FAILS:-nothing}}"*) exit 3 ;; esac
{more}
"""


@pytest.fixture
def lab(tmp_path):
    """A copy of the launchers, with a python, an sbatch and an srun that only record what they are asked."""
    checkout(tmp_path)
    for script in ("reproduce.sh", "preprocess.sh", "predict.sh"):
        shutil.copy(ROOT / script, tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "sample_submission.csv").write_text("filename,label\n")
    for name, more in (("python", ""), ("sbatch", "echo 7"), ("srun", "")):
        program = tmp_path / "bin" / name
        calls = tmp_path / "calls"
        program.write_text(RECORDS.format(python=sys.executable, name=name, calls=calls, more=more))
        program.chmod(0o755)
    return tmp_path


def reproduce(lab, *words, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    kept |= {"PATH": f"{lab / 'bin'}:{os.environ['PATH']}", "PYTHON": str(lab / "bin/python")} | environment
    command = ["sh", "reproduce.sh", *words]
    done = subprocess.run(command, cwd=lab, env=kept, capture_output=True, text=True, check=False)
    calls = lab / "calls"
    return done, calls.read_text().splitlines() if calls.is_file() else []


def test_on_slurm_all_stages_run_in_order(lab):
    done, calls = reproduce(lab, "gpus")
    assert done.returncode == 0, done.stderr
    stages = [call for call in calls if not call.startswith("srun")]
    assert [stage.split()[0] for stage in stages] == [
        "python",
        "python",
        "sbatch",
        "python",
        "python",
        "sbatch",
        "sbatch",
    ]
    expected = (
        "-m pretrain.retinaface",
        "-m pretrain.download",
        "preprocess.py' '--videos' './DFDC-Kaggle' '--faces' './DFDC-Kaggle_Alignedface'",
        "make_lists.py --videos ./DFDC-Kaggle --faces ./DFDC-Kaggle_Alignedface --lists ./DFDC-Kaggle_list",
        f"-m inference.collect --members {','.join(MEMBERS)} --models inference/submit_models",
        "'inference.predict' '--list'",
        "'inference.merge' '--list'",
    )
    for stage, words in zip(stages, expected, strict=True):
        assert words in stage
    assert all("--wait" in stage for stage in stages if stage.startswith("sbatch")), "each stage waits for its jobs"
    launches = [number for number, call in enumerate(calls) if call.startswith("srun")]
    assert len(launches) == 11
    assert "make_lists.py" in calls[launches[0] - 1]
    assert "inference.collect" in calls[launches[-1] + 1]


def test_without_slurm_the_training_is_another_command(lab):
    done, calls = reproduce(lab)
    assert (done.returncode, calls, "usage: sh reproduce.sh PARTITION" in done.stderr) == (2, [], True)
    settings = {"TRAIN": f"echo trained 'a b' >> {lab}/calls", "DATA": "data", "MEMBERS": "b0", "COLLECT": "--last"}
    done, calls = reproduce(lab, **settings)
    assert done.returncode == 0, done.stderr
    assert [call.split()[:3] for call in calls] == [
        ["python", "-m", "pretrain.retinaface"],
        ["python", "preprocess.py", "--videos"],
        ["python", "make_lists.py", "--videos"],
        ["trained", "a", "b"],
        ["python", "-m", "inference.collect"],
        ["python", "-m", "inference.predict"],
    ]
    assert "--members b0 --models inference/submit_models --last" in calls[4]
    assert "--output submission.csv" in calls[5]
    (lab / "submission.csv").write_text("filename,label\n")
    (lab / "inference/submit_models").mkdir(parents=True, exist_ok=True)
    for path in (lab / "inference/submit_models", lab / "sample_submission.csv"):
        os.utime(path, (1, 1))
    done, calls = reproduce(lab, **settings)
    assert "scored already" in done.stdout
    assert "inference.collect" in calls[-1]


def test_the_first_stage_that_fails_ends_it(lab):
    done, calls = reproduce(lab, TRAIN="true", FAILS="make_lists")
    assert done.returncode == 3
    assert "make_lists.py" in calls[-1]


def run_folder(experiments, *steps):
    config = load_config(ROOT / "image_based/configs/b0/config.yaml", ImageConfig)
    folder = experiments / config.save_path / "now"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(config))
    for step in steps:
        (folder / f"ckpt_iter_{step}.pth.tar").write_bytes(b"step %d" % step)


def test_the_checkpoint_of_the_files_name_is_collected(run, tmp_path):
    run_folder(tmp_path / "runs", 56000, 58000, 60001)
    words = (
        "-m",
        "inference.collect",
        "--members",
        "b0",
        "--experiments",
        tmp_path / "runs",
        "--models",
        tmp_path / "m",
    )
    assert "1 members in" in run(*words).stdout
    target = tmp_path / "m" / MEMBERS["b0"].file
    assert target.read_bytes() == b"step 58000"
    assert "already there" in run(*words).stdout
    run(*words, "--last")
    assert target.read_bytes() == b"step 60001"


def test_a_training_that_is_not_so_far_is_named(run, tmp_path):
    run_folder(tmp_path / "runs", 56000)
    words = ("-m", "inference.collect", "--experiments", tmp_path / "runs", "--models", tmp_path / "m")
    done = run(*words, "--members", "b0,b1", check=False)
    assert done.returncode == 1
    assert "b0: no run of image_based/configs/b0/config.yaml" in done.stdout
    assert "has the checkpoint of step 58000" in done.stdout
    assert "0 members in" in done.stdout
    assert "2 not found" in done.stdout
    assert not (tmp_path / "m").exists()
    done = run(*words, "--members", "b9", check=False)
    assert (done.returncode, "unknown members b9; known are sf1" in done.stderr) == (2, True)
