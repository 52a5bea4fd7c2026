"""The AUC by every protocol, each worked out by hand, and an external detector in the benchmark."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from common.status import Status
from inference.conclude import unscored
from inference.results import FaceResult
from quality import protocols
from quality.sets.items import Item


def item(key, label, manipulation=""):
    return Item(key, label, manipulation, key, (key,), "test")


def result(key, label, *faces, status=Status.OK):
    """A result whose faces have these scores of frames."""
    results = tuple(
        FaceResult(number, 0.5, "", True, {}, 9, 0.0, 1.0, groups) for number, groups in enumerate(faces, start=1)
    )
    return replace(unscored(key, status, "", 9, {}), label=label, faces=results)


ITEMS = [
    item("real/000.mp4", 0),
    item("real/001.mp4", 0),
    item("real/002.mp4", 0),
    item("Deepfakes/000_001.mp4", 1, "Deepfakes"),
    item("FaceSwap/000_001.mp4", 1, "FaceSwap"),
    item("FaceSwap/002_000.mp4", 1, "FaceSwap"),
]
RESULTS = {
    scored.filename: scored
    for scored in (
        result("real/000.mp4", 0.2, (0.1, 0.3), (0.6, 0.8)),  # the second face is higher
        result("real/001.mp4", 0.6, (0.6, 0.6)),
        result("real/002.mp4", 0.5, status=Status.NO_FACE),
        result("Deepfakes/000_001.mp4", 0.9, (0.9, 0.5)),
        result("FaceSwap/000_001.mp4", 0.4, (0.3, 0.1)),
        result("FaceSwap/002_000.mp4", 0.55, (0.65, 0.45)),
    )
}
# The number of scores, and pairs of a fake and a real score that are in the right order, over all pairs.
BY_HAND = {
    # 0.9 beats 0.2, 0.6, 0.5; 0.4 beats 0.2; 0.55 beats 0.2, 0.5
    "whole videos": (6, 6 / 9),
    # without the real video of 0.5: 0.9 beats two, 0.4 one, 0.55 one
    "whole videos that have a score": (5, 4 / 6),
    # real 0.2, 0.6; fakes 0.7, 0.2, 0.55: 2 + a tie + 1
    "mean of frames": (5, 3.5 / 6),
    # 000_001: the mean of 0.9, 0.5, 0.3, 0.1 is 0.45; 002_000: 0.55; each beats 0.2
    "mean of frames by folder name": (4, 2 / 4),
    # real 0.7, 0.6; fakes 0.7, 0.2, 0.55: 0.7 ties and beats 0.6
    "highest face, mean of frames": (5, 1.5 / 6),
    # real 0.1, 0.3, 0.6, 0.6; fakes 0.9 (4), 0.5 (2), 0.3 (1.5), 0.1 (0.5), 0.65 (4), 0.45 (2)
    "frames": (10, 14 / 24),
    # the second real video is dropped, 0.2 is left: 0.7 beats it, 0.2 ties, 0.55 beats it
    "mean of frames, half of the real videos": (4, 2.5 / 3),
}


def test_each_protocol_is_as_worked_out_by_hand():
    aucs = protocols.protocol_aucs(ITEMS, RESULTS)
    assert {line.name: (line.scores, pytest.approx(line.auc)) for line in aucs} == BY_HAND
    assert aucs[0].difference == 0
    assert aucs[1].difference == pytest.approx(4 / 6 - 6 / 9)
    assert "| frames | 0.5833 | 10 | -0.0833 | DeepfakeBench's AUC" in protocols.table(aucs)


def test_the_protocols_explain_a_published_figure():
    text = protocols.explain(protocols.protocol_aucs(ITEMS, RESULTS), 0.5)
    assert text.splitlines()[0] == "published 0.5000, ours 0.6667: -0.1667 to explain"
    assert "  frames: -0.0833, 50% of it" in text
    assert "nearest is mean of frames by folder name with 0.5000; +0.0000 remain" in text


def test_an_external_detector_scores_and_its_failures_count(run, clip, tmp_path):
    """A failure has a status and no score; it never counts as a score of 0."""
    root, output = tmp_path / "set", tmp_path / "out"
    for name in ("real/a.mp4", "real/b.mp4", "fake/c.mp4", "fake/d.mp4", "fake/e.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip("single_face.mp4"), root / name)
    detector = tmp_path / "theirs.py"
    detector.write_text(
        "SCORES = {'a': 0.1, 'b': 0.3, 'c': 0.8, 'd': float('nan')}\n"
        "def predict(path):\n    return SCORES[path.rpartition('/')[2][0]]\n"
    )
    words = ["-m", "quality.benchmark", "folder", "--root", root, "--output", output, "--rounds", "5"]
    done = run(*words, "--detector", detector, "--protocols", "--explain", "0.9", check=False)
    assert done.returncode == 1
    report = json.loads((output / "benchmark.json").read_text())
    assert report["coverage"] == {"real": {"ok": 2}, "fake": {"ok": 1, "not_finite": 1, "crashed": 1}}
    assert report["overall"]["video_auc"][0] == 1
    assert report["overall"]["log_loss"][0] == pytest.approx(-sum(map(math.log, (0.9, 0.7, 0.8, 0.5, 0.5))) / 5)
    assert report["run"]["detector"] == str(detector)
    lines = (output / "scores.csv").read_text().splitlines()
    assert "folder,fake/d.mp4,,1,,not_finite" in lines
    assert "folder,fake/e.mp4,,1,,crashed" in lines
    assert "published 0.9000, ours 1.0000: -0.1000 to explain" in done.stdout
    assert "| whole videos | 1.0000 | 5 |" in (output / "protocols.md").read_text()
    assert "the detector raised KeyError: 'e'" in done.stderr
    (tmp_path / "beside.py").write_text("SCORE = 0.25\n")
    detector.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom beside import SCORE\n"
        "@dataclass\nclass Found:\n    score: float\n"
        "def predict(path):\n    return Found(SCORE).score\n"
    )
    run(*words, "--detector", detector, check=False)
    assert "folder,fake/e.mp4,,1,0.25,ok" in (output / "scores.csv").read_text()
    detector.write_text("import nowhere_to_be_found\n")
    assert "cannot be loaded: No module named" in run(*words, "--detector", detector, check=False).stderr
    detector.write_text("x = 1\n")
    assert "has no function predict" in run(*words, "--detector", detector, check=False).stderr


def test_an_external_detector_has_a_process_of_its_own(run, tmp_path):
    """Its packages may be called as ours, what it prints is not an answer, and what it ends is not the benchmark."""
    root, output, theirs = tmp_path / "set", tmp_path / "out", tmp_path / "theirs"
    for name in ("real/a.mp4", "fake/b.mp4", "fake/c.mp4", "fake/d.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"video")
    (theirs / "training/zoo").mkdir(parents=True)
    (theirs / "training/zoo/classifiers.py").write_text("VALUE = 0.25\n")
    detector = theirs / "detector.py"
    detector.write_text(
        "import os, sys\nfrom training.zoo.classifiers import VALUE\nassert sys.argv == [__file__]\n"
        "def predict(path):\n"
        "    print('looking at', path)\n"
        "    if path.endswith('b.mp4'):\n        sys.exit()\n"
        "    if path.endswith('c.mp4'):\n        os._exit(3)\n"
        "    return VALUE\n"
    )
    words = ["-m", "quality.benchmark", "folder", "--root", root, "--output", output, "--rounds", "2"]
    done = run(*words, "--detector", detector, check=False)
    assert done.returncode == 1
    lines = (output / "scores.csv").read_text().splitlines()
    assert {"folder,real/a.mp4,,0,0.25,ok", "folder,fake/d.mp4,,1,0.25,ok"} <= set(lines)
    assert {"folder,fake/b.mp4,,1,,crashed", "folder,fake/c.mp4,,1,,crashed"} <= set(lines)
    assert "the detector raised SystemExit" in done.stderr
    assert "the detector ended its process with status 3" in done.stderr
    detector.write_text("import argparse\nargparse.ArgumentParser().parse_args(['-w'])\n")
    done = run(*words, "--detector", detector, check=False)
    assert (done.returncode, "cannot be loaded: it ended itself with status 2" in done.stderr) == (2, True)
