"""Our members in other harnesses, each run as the harness does it."""

import csv
import importlib
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from common.errors import BadInputError
from common.images import resize
from inference.members import KNOWN, MODELS
from inference.scoring import fake_probability
from shipped.crops import load_fastest
from tests.conftest import ROOT


class Registry(dict):
    """As DeepfakeBench's in training/metrics/registry.py: a decorator fills it."""

    def register_module(self, module_name=None):
        return lambda kind: self.setdefault(module_name or kind.__name__, kind)


@pytest.fixture
def harness(monkeypatch):
    """Build a detector from a config and score a batch with it, as its training/test.py does."""
    registry = Registry()
    monkeypatch.setitem(sys.modules, "detectors", SimpleNamespace(DETECTOR=registry))
    monkeypatch.delitem(sys.modules, "quality.adapters.deepfakebench", raising=False)
    importlib.import_module("quality.adapters.deepfakebench")

    def test(crops, member):
        config = {"model_name": "robustforensics", "member": member, "mean": [0.5] * 3, "std": [0.5] * 3}
        model = registry[config["model_name"]](config).to("cpu")
        model.eval()
        images = (torch.from_numpy(crops / np.float32(255)) - 0.5) / 0.5
        output = model({"image": images.movedim(-1, 1).contiguous(), "label": torch.zeros(len(crops))}, inference=True)
        assert output["cls"].shape == output["feat"].shape == (len(crops), 2)
        return output["prob"].cpu().numpy()

    yield test
    sys.modules.pop("quality.adapters.deepfakebench")


@pytest.fixture(scope="module")
def crops(frames):
    """Four face crops as DeepfakeBench stores them, RGB uint8 [N, 256, 256, 3]."""
    faces = [cv2.cvtColor(cv2.resize(frame[60:300, 200:440], (256, 256)), cv2.COLOR_BGR2RGB) for frame in frames[:4]]
    return np.stack(faces)


@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_a_member_scores_crops_in_deepfakebench_as_it_does_here(harness, crops, name, tmp_path, monkeypatch):
    member = KNOWN[name]
    networks = load_fastest({name: member}, MODELS, "cpu")
    (logits,) = networks.logits(name, [np.stack([resize(crop, member.size) for crop in crops])])
    monkeypatch.chdir(tmp_path)  # the harness runs in a folder of its own
    assert harness(crops, name) == pytest.approx(fake_probability(logits), abs=1e-5)


def test_an_unknown_member_is_refused(harness, crops):
    with pytest.raises(BadInputError, match="sf1 is not one of the image members"):
        harness(crops, "sf1")


def test_predict_of_a_path_is_the_members_score(run, film, tmp_path):
    root = tmp_path / "set"
    for name in ("real/a.mp4", "fake/b.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(film.read_bytes())
    (root / "fake/c.mp4").write_text("not a video\n" * 99)
    scores = {}
    for way, words in {"ours": [], "theirs": ["--detector", ROOT / "quality/adapters/predict.py"]}.items():
        output = tmp_path / way
        run(
            "-m",
            "quality.benchmark",
            "folder",
            "--root",
            root,
            "--output",
            output,
            "--rounds",
            "2",
            *words,
            check=False,
        )
        with (output / "scores.csv").open(newline="") as file:
            scores[way] = {row["key"]: row for row in csv.DictReader(file)}
    assert scores["ours"].keys() == scores["theirs"].keys()
    for key in ("real/a.mp4", "fake/b.mp4"):
        assert float(scores["theirs"][key]["score"]) == pytest.approx(float(scores["ours"][key]["score"]), abs=1e-6)
    assert [scores[way]["fake/c.mp4"]["score"] for way in ("ours", "theirs")] == ["", ""]
    assert scores["theirs"]["fake/c.mp4"]["status"] == "crashed"
