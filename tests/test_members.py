"""The members' table, and `python -m inference.members --check` on checkpoints of all six networks."""

import json
import re
from itertools import islice

import pytest
import torch

import common.files
from common.cache import VARIABLE
from common.errors import BadInputError
from demo.tree import write_video
from faces.video import read_frames
from inference.members import MEMBERS, MODELS, SHIPPED, choose_members, markdown_table
from inference.networks.checkpoints import check, read_recorded
from inference.settings import detector_weights
from tests.conftest import ROOT
from tests.test_networks import build


def test_members_are_the_contracts_rows():
    assert len(MEMBERS) == 11
    assert [name for name, member in MEMBERS.items() if member.flip] == ["xcp", "res34", "b1", "b0"]
    assert [name for name, member in MEMBERS.items() if member.squeeze] == ["b3", "res34"]
    assert [name for name, member in MEMBERS.items() if member.size == 256] == ["sf1", "sf2", "sf3", "sf4", "res34"]
    assert [name for name, member in MEMBERS.items() if member.color == "bgr"] == ["xcp"]


def test_the_readmes_table_is_the_rows():
    assert markdown_table() in (ROOT / "inference/README.md").read_text()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """All eleven checkpoints, equal ones for equal networks."""
    folder = tmp_path_factory.mktemp("models")
    files = {}
    torch.manual_seed(0)
    for member in MEMBERS.values():
        path = folder / member.file
        if member.arch in files:
            path.hardlink_to(files[member.arch])
            continue
        files[member.arch] = path
        state = {f"module.{name}": value for name, value in build(member.arch).state_dict().items()}
        torch.save({"step": 1234, "arch": member.arch, "state_dict": state, "best_loss": 0.1, "optimizer": {}}, path)
    return folder


@pytest.mark.slow
def test_check_loads_and_scores_all_eleven(run, models):
    assert list(choose_members(None, models).members) == list(MEMBERS)
    done = run("-m", "inference.members", "--check", "--models", models)
    lines = done.stdout.splitlines()[1:-1]
    assert [line.split()[0] for line in lines] == [*MEMBERS, *SHIPPED]
    for _ in SHIPPED:
        assert lines.pop().endswith("absent")
    for line in lines:
        assert "step 1234" in line
        assert len(line.split("sha256 ")[1].split(",")[0]) == 64
        assert abs(float(line.split("check ")[1].split(",")[0])) < 1e4
    assert done.stdout.splitlines()[-1] == "inference.members: 11 present, 2 absent, 0 failed"


def test_absent_and_damaged_checkpoints_are_told_apart(run, models, tmp_path):
    (tmp_path / MEMBERS["b0"].file).hardlink_to(models / MEMBERS["b0"].file)
    (tmp_path / MEMBERS["b3"].file).hardlink_to(models / MEMBERS["b0"].file)
    (tmp_path / MEMBERS["xcp"].file).write_bytes(b"half a file")
    done = run("-m", "inference.members", "--check", "--models", tmp_path, check=False)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert lines["b1"].endswith("absent")
    assert "FAILED" not in lines["b0"]
    assert "FAILED" in lines["b3"]
    assert "does not fit EfficientNet" in lines["b3"]
    assert "is not a readable checkpoint" in lines["xcp"]
    assert done.stdout.splitlines()[-1] == "inference.members: 1 present, 10 absent, 2 failed"


def test_nothing_to_check_is_not_success(run, tmp_path):
    assert run("-m", "inference.members", "--models", tmp_path).returncode == 0
    assert run("-m", "inference.members", "--check", "--models", tmp_path, check=False).returncode == 1


@pytest.mark.slow
def test_all_eleven_score_a_real_clip(run, models, clip, tmp_path):
    """Both branches together: every member scores, and the final score is .4 video + .6 image."""
    write_video(tmp_path / "clip.mp4", list(islice(read_frames(clip("single_face.mp4")), 6)), 30.0)
    run(
        "-m",
        "inference.predict",
        tmp_path / "clip.mp4",
        "--models",
        models,
        "--output",
        tmp_path / "s.csv",
        "--device",
        "cpu",
    )
    row = json.loads((tmp_path / "s.jsonl").read_text())
    assert row["status"] == "ok"
    assert all(0 <= score <= 1 for score in row["members"].values())
    assert len(row["members"]) == 11
    assert row["label"] == pytest.approx(0.4 * row["video"] + 0.6 * row["image"])


def test_the_shipped_weights_score_as_recorded(run, tmp_path):
    """And an upgrade that changed what they score would be seen."""
    done = run("-m", "inference.members", "--check")
    shipped = [line for line in done.stdout.splitlines() if line.split()[0] in SHIPPED]
    assert len(shipped) == len(SHIPPED)
    assert all("as recorded" in line for line in shipped)
    digest = re.search(r"sha256 (\w+)", shipped[0])[1]
    recorded = read_recorded()
    member = SHIPPED[shipped[0].split()[0]]
    with pytest.raises(BadInputError, match="is recorded"):
        check(member, MODELS, {digest: recorded[digest] + 2e-3})
    assert check(member, MODELS, {digest: recorded[digest] + 1e-5})[0].endswith("as recorded")
    assert check(member, MODELS, {})[0].endswith("none recorded")


def test_the_detector_of_a_newcomer_is_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common.files, "ROOT", tmp_path)  # a clone that has none yet
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    assert detector_weights().is_file()
    assert "fetching" in capsys.readouterr().out
    assert detector_weights().is_file()
    assert capsys.readouterr().out == ""


def test_real_scores_of_a_newcomer(run, clip, weights, tmp_path):
    """In a fresh clone, on a real video, with no option."""
    done = run("-m", "inference.predict", clip("single_face.mp4"), "--output", tmp_path / "s.csv")
    assert "scoring with lite0, lite2 of inference/submit_models" in done.stdout
    assert json.loads((tmp_path / "s.jsonl").read_text())["label"] < 0.5  # it is real
