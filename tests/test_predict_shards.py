"""`predict.sh` and `inference.merge`: a list over the tasks of an array, and its parts put together."""

import json
import os
import subprocess
import sys

import pytest

from demo.tree import write_video
from tests.conftest import ROOT, wait_for
from tests.tiny import write_checkpoints


@pytest.fixture(scope="module")
def work(tmp_path_factory, frames, weights):
    """Five videos in a folder with a space, of which one is missing, and a list of them."""
    folder = tmp_path_factory.mktemp("it's shards")
    write_checkpoints(folder / "models", ["res34"])
    names = ["e.mp4", "b.mp4", "missing.mp4", "d.mp4", "a.mp4"]
    for number, name in enumerate(name for name in names if name != "missing.mp4"):
        write_video(folder / "videos" / name, frames[number : number + 6], 30.0)
    (folder / "list.csv").write_text("filename,label\n" + "".join(f"{name},0.5\n" for name in names))
    return folder


def words(work, output):
    return [
        "--videos",
        work / "videos",
        "--models",
        work / "models",
        "--members",
        "res34",
        "--device",
        "cpu",
        "--output",
        output,
    ]


def in_one_run(work, *options):
    listed = ["--list", work / "list.csv"]
    command = [sys.executable, "-m", "inference.predict", *listed, *words(work, work / "whole.csv"), *options]
    assert subprocess.run(list(map(str, command)), cwd=ROOT, check=False).returncode == 1
    return (work / "whole.csv").read_text()


@pytest.fixture(scope="module")
def whole(work):
    return in_one_run(work)


def test_shards_merge_to_what_one_run_gives(run, work, whole, tmp_path):
    output, listed = tmp_path / "s.csv", ("--list", work / "list.csv")
    run("-m", "inference.predict", *listed, *words(work, output), "--shard", "1/2", check=False)
    early = run("-m", "inference.merge", *listed, "--output", output, check=False)
    assert early.returncode == 2
    assert "3 of 5 videos have no row yet, such as missing.mp4, d.mp4, a.mp4" in early.stderr
    assert not output.exists()
    assert run("-m", "inference.predict", *listed, *words(work, output), "--shard", "0/2", check=False).returncode == 1
    neighbour = tmp_path / "s-b0-0-of-2.partial.jsonl"
    neighbour.write_text("{}\n")
    merged = run("-m", "inference.merge", *listed, "--output", output, check=False)
    assert merged.returncode == 1
    assert "merge: 4 ok, 1 missing" in merged.stdout
    assert output.read_text() == whole
    assert [path.name for path in tmp_path.glob("*.partial.jsonl")] == [neighbour.name]
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["ok", "ok", "missing", "ok", "ok"]
    (tmp_path / "s-b0-0-of-2.jsonl").write_text(
        '{"filename": "e.mp4", "label": 0.9}\n'
    )  # of another submission, s-b0.csv
    assert run("-m", "inference.merge", *listed, "--output", output, check=False).returncode == 1
    assert output.read_text() == whole
    (tmp_path / "s-0-of-2.jsonl").write_text((tmp_path / "s-0-of-2.jsonl").read_text().replace('"run": "', '"run": "0'))
    other = run("-m", "inference.merge", *listed, "--output", output, check=False)
    assert (other.returncode, "scored with different members" in other.stderr) == (2, True)
    (tmp_path / "s-0-of-3.jsonl").write_text("")
    mixed = run("-m", "inference.merge", *listed, "--output", output, check=False)
    assert (mixed.returncode, "from runs of 2 and 3: keep those of one run" in mixed.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "usage:"),
        (("debug", "nowhere.csv"), "nowhere.csv is not a file"),
        (("debug", "README.md", "no"), "SHARDS must be a positive number"),
    ],
)
def test_a_call_that_makes_no_sense(arguments, complaint):
    done = subprocess.run(["sh", "predict.sh", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.slurm
@pytest.mark.parametrize("options", [(), ("--screen",)], ids=["exact", "screened"])
def test_a_list_over_a_real_slurm(work, tmp_path, slurm, options):
    """Two tasks, then the merging job; the missing video makes all of them end with 1, and loses nothing."""
    whole = in_one_run(work, *options)
    output = tmp_path / "out/submission.csv"
    environment = slurm | {
        "PYTHON": sys.executable, "CPUS_PER_TASK": "1", "GPUS_PER_TASK": "0", "OUTPUT": str(output),
        "SBATCH_ARGS": f"--chdir={ROOT} --output={tmp_path}/%a.out", "EVIDENCE": str(tmp_path / "evidence"),
    }  # fmt: skip
    named = [str(word) for word in words(work, output)[:-2]]
    command = ["sh", "predict.sh", "debug", str(work / "list.csv"), "2", "scores", *named, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "which merges them into" in done.stdout
    wait_for(output.exists, 180)
    assert output.read_text() == whole
    index = wait_for(
        lambda: (tmp_path / "evidence/index.html").exists() and (tmp_path / "evidence/index.html").read_text()
    )
    assert index.count("data-key") == 2 * 5
    wait_for((output.parent / "submission.verdicts.csv").exists)
    assert sorted(path.name for path in output.parent.glob("*.csv")) == [
        "submission-0-of-2.csv", "submission-1-of-2.csv", "submission.csv", "submission.verdicts.csv",
    ]  # fmt: skip
    assert "missing.mp4: missing" in "".join((tmp_path / f"{number}.out").read_text() for number in (0, 1))
    rows = [json.loads(line) for line in (output.parent / "submission.jsonl").read_text().splitlines()]
    assert {row["policy"] for row in rows if row["status"] == "ok"} == {"screen" if options else "reference"}


def test_nothing_of_slurm_changes_a_run_outside_an_array(run, work, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    words_ = ["-m", "inference.predict", "--list", work / "list.csv", *words(work, tmp_path / "s.csv")]
    assert run(*words_, check=False).returncode == 1
    assert (tmp_path / "s.csv").read_text() == whole


def test_an_array_of_one_is_merged_too(run, work, whole, tmp_path, monkeypatch):
    for name, value in (("ID", "0"), ("MIN", "0"), ("MAX", "0"), ("STEP", "1"), ("COUNT", "1")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    output, listed = tmp_path / "s.csv", ("--list", work / "list.csv")
    run("-m", "inference.predict", *listed, *words(work, output), check=False)
    assert not output.exists()
    before = (tmp_path / "s-0-of-1.jsonl").read_text()
    again = run("-m", "inference.predict", *listed, *words(work, output), check=False)
    assert "100%" in again.stderr
    assert (tmp_path / "s-0-of-1.jsonl").read_text() == before  # the seconds in it would differ
    assert run("-m", "inference.merge", *listed, "--output", output, check=False).returncode == 1
    assert output.read_text() == whole
    assert not list(tmp_path.glob("*.partial.jsonl"))


def test_submitting_takes_old_parts_away_and_no_others(work, tmp_path):
    """A task that never runs must not leave an old part to the merging job."""
    for name in ("s-0-of-2.jsonl", "s-0-of-2.csv", "s-1-of-2.partial.jsonl", "s-b0-0-of-3.jsonl", "s-b0-0-of-2.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text("#!/bin/sh\necho 7\n")
    (tmp_path / "bin/sbatch").chmod(0o755)
    environment = os.environ | {"OUTPUT": str(tmp_path / "s.csv"), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    command = ["sh", "predict.sh", "debug", work / "list.csv", "2"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, env=environment)
    left = ["s-1-of-2.partial.jsonl", "s-b0-0-of-2.jsonl", "s-b0-0-of-3.jsonl"]
    assert sorted(path.name for path in tmp_path.glob("s-*")) == left


def test_parts_of_another_number_of_shards_are_seen_before_hours_are_spent(work, tmp_path):
    (tmp_path / "s-1-of-3.jsonl").touch()
    command = ["sh", "predict.sh", "debug", work / "list.csv", "2"]
    environment = os.environ | {"OUTPUT": str(tmp_path / "s.csv")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, "belongs to another number of shards" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "content", ['{"text": "a"}\n', '{"filename": "a', "[1]\n", '{"filename": "a", "status": "ok"}\n']
)
def test_a_damaged_shard_is_named(run, tmp_path, content):
    (tmp_path / "s-0-of-2.jsonl").write_text(content)
    done = run("-m", "inference.merge", tmp_path, "--output", tmp_path / "s.csv", check=False)
    assert done.returncode == 2
    assert "s-0-of-2.jsonl:1 is not a row of inference.predict" in done.stderr


def test_shards_of_an_output_with_another_suffix_are_merged(run, work, tmp_path):
    words = (work / "videos/a.mp4", "--output", tmp_path / "scores.txt")
    run("-m", "inference.predict", *words, "--shard", "0/1")
    assert "1 ok" in run("-m", "inference.merge", *words).stdout
    assert (tmp_path / "scores.txt").read_text().startswith("filename,label\na.mp4,")
