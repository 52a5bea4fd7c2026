"""Scoring from Python: `from inference import Scorer`."""

import dataclasses
import doctest
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import inference.scorer
from common.errors import BadInputError
from common.status import Status
from common.workers import Workers
from inference import Result, Scorer
from inference.scorer import Cancelled
from tests.conftest import ROOT


def test_the_example_of_the_docstring(clip):
    clip("single_face.mp4")
    assert doctest.testmod(inference.scorer).attempted == 3
    assert doctest.testmod(inference.scorer).failed == 0


def test_a_video_has_faces_with_times_and_boxes(scorer, film):
    result = scorer.score(film)
    assert (result.filename, result.status, result.verdict) == ("film.mp4", Status.OK, "uncertain")
    (face,) = result.faces
    assert face.decides
    assert face.score == pytest.approx(result.label)
    assert len(face.times) == len(face.boxes) == face.detections == 24
    assert list(face.times) == sorted(face.times)
    assert all(0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 360 for x1, y1, x2, y2 in face.boxes)
    assert face.members.keys() == {"lite0", "lite2"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.path = Path()
    assert json.loads(json.dumps(result.to_json()))["each_face"][0]["boxes"] == [list(box) for box in face.boxes]


def test_it_is_what_predict_writes(scorer, film, run, tmp_path):
    """Row and evidence alike."""
    run("-m", "inference.predict", film, "--output", tmp_path / "s.csv", "--evidence", tmp_path / "theirs")
    result = scorer.score(film)
    result.save_evidence(tmp_path / "ours")
    row = json.loads((tmp_path / "s.jsonl").read_text())
    assert {**row, "seconds": 0} == json.loads(json.dumps({**result.to_row(), "seconds": 0}))
    for name in ("film.mp4.json", "film.mp4.html"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert result.page() == (tmp_path / "ours/film.mp4.html").read_text()


def test_many_are_scored_by_several_processes_and_names_may_repeat(scorer, film, clip):
    results = list(scorer.score_many([film, clip("no_face.mp4"), film, ROOT / "absent.mp4"]))
    assert sorted((result.filename, result.status) for result in results) == [
        ("absent.mp4", Status.MISSING),
        ("film.mp4", Status.OK),
        ("film.mp4", Status.OK),
        ("no_face.mp4", Status.NO_FACE),
    ]
    assert all(isinstance(result, Result) for result in results)
    first, second = (result for result in results if result.filename == "film.mp4")
    assert first.label == second.label == scorer.score(film).label


def test_models_and_processes_stay(scorer, film, monkeypatch):
    scorer.score(film)
    monkeypatch.setattr(Workers, "__init__", lambda *_: pytest.fail("a worker was started anew"))
    monkeypatch.setattr(inference.scorer, "load_networks", lambda *_: pytest.fail("a network was loaded anew"))
    assert scorer.score(film).status == Status.OK


def test_progress_is_told_and_a_video_can_be_cancelled(scorer, clip):
    seen = []
    result = scorer.score(clip("WolfgangLanger_Pexels.mp4"), "other.mp4", seen.append)
    assert result.filename == "other.mp4"
    frames = [progress.done for progress in seen if progress.stage == "faces"]
    assert frames == sorted(frames)
    assert [progress[1:] for progress in seen if progress.stage == "networks"] == [(0, 2), (1, 2)]

    def cancel(progress):
        if progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        scorer.score(clip("WolfgangLanger_Pexels.mp4"), watch=cancel)
    assert scorer.score(clip("single_face.mp4")).status == Status.OK


def test_without_evidence_none_is_saved(film, weights, tmp_path):
    with Scorer(members="lite0", evidence=False) as made, pytest.raises(BadInputError, match="without evidence"):
        made.score(film).save_evidence(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_members_are_refused_at_once(weights):
    with pytest.raises(BadInputError, match="unknown members nobody"):
        Scorer(members="nobody")


def test_options_are_keywords_and_the_former_names_still_work(weights):
    with Scorer(members="lite0", faces=3, by_shots=True) as made:
        assert (made.setup.settings.max_faces, made.setup.settings.shots) == (3, True)
    with pytest.raises(TypeError, match="unknown settings colour; known are allow_missing"):
        Scorer(colour="blue")
    with pytest.raises(TypeError, match="name members by keyword"):
        Scorer("lite0")


def hostile(folder: Path, film: Path) -> list[Path]:
    """Fifty files that are no good videos: cut, shuffled, empty, of other kinds, under odd names."""
    whole, chance, paths = film.read_bytes(), random.Random(0), []
    for number in range(50):
        kind = number % 5
        cut = whole[: chance.randrange(len(whole))]
        flipped = bytearray(whole)
        for _ in range(200):
            flipped[chance.randrange(len(whole))] ^= 255
        content = (cut, bytes(flipped), chance.randbytes(5000), b"", b"\xff\xd8\xff" + chance.randbytes(500))[kind]
        suffix = (".mp4", ".mp4", ".avi", ".webm", ".jpg")[kind]
        path = folder / f"{number} <b>&amp;'\"; %2e%2e{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths


def test_fifty_hostile_files_are_fifty_statuses(scorer, film, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    results = [scorer.score(path, watch=lambda progress: None) for path in hostile(tmp_path, film)]
    assert len(results) == 50
    assert all(isinstance(result.status, Status) and result.reason for result in results)
    assert {result.status for result in results} >= {Status.DECODE_ERROR, Status.UNSUPPORTED}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_importing_the_package_takes_no_time():
    """Only asking for Scorer imports what scores."""
    code = "import sys, inference; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, env=os.environ).returncode == 0
