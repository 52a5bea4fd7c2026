"""Our members in other harnesses, each run as that harness does it."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest

from common.images import resize
from inference.members import KNOWN, MODELS
from inference.runtimes import load_fastest
from inference.scoring import fake_probability
from tests.conftest import ROOT

# DeepfakeBench's side, by training/detectors/__init__.py, training/metrics/registry.py and training/test.py: a registry
# that is filled by a decorator, a class that is built with the config, and a call in evaluation mode.
HARNESS = """
import sys, types
import numpy as np, torch

class Registry:
    def __init__(self):
        self.data = {}
    def register_module(self, module_name=None):
        def decorate(cls):
            self.data[module_name or cls.__name__] = cls
            return cls
        return decorate
    def __getitem__(self, key):
        return self.data[key]

detectors = types.ModuleType("detectors")
detectors.DETECTOR = Registry()
sys.modules["detectors"] = detectors
import quality.adapters.deepfakebench

config = {"model_name": "robustforensics", "member": sys.argv[2], "mean": [0.5] * 3, "std": [0.5] * 3}
model = detectors.DETECTOR[config["model_name"]](config).to("cpu")
model.eval()
images = np.load(sys.argv[1]).astype(np.float32) / 255
data = {"image": torch.from_numpy((images - 0.5) / 0.5).movedim(-1, 1).contiguous(), "label": torch.zeros(len(images))}
found = model(data, inference=True)
assert found["cls"].shape == found["feat"].shape == (len(images), 2)
print(*found["prob"].cpu().numpy().tolist())
"""


@pytest.fixture(scope="module")
def crops(frames):
    """Four face crops as DeepfakeBench stores them, RGB uint8 [N, 256, 256, 3]."""
    faces = [cv2.cvtColor(cv2.resize(frame[60:300, 200:440], (256, 256)), cv2.COLOR_BGR2RGB) for frame in frames[:4]]
    return np.stack(faces)


@pytest.mark.parametrize("name", ["lite0", "lite2"])
def test_a_member_scores_crops_in_deepfakebench_as_here(crops, tmp_path, name):
    np.save(tmp_path / "crops.npy", crops)
    (tmp_path / "harness.py").write_text(HARNESS)
    done = subprocess.run(
        [sys.executable, tmp_path / "harness.py", tmp_path / "crops.npy", name],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    member = KNOWN[name]
    networks = load_fastest({name: member}, MODELS, "cpu")
    (logits,) = networks.logits(name, [np.stack([resize(crop, member.size) for crop in crops])])
    assert np.array(done.stdout.split(), float) == pytest.approx(fake_probability(logits), abs=1e-5)


def test_an_unknown_member_is_said(crops, tmp_path):
    np.save(tmp_path / "crops.npy", crops)
    (tmp_path / "harness.py").write_text(HARNESS)
    done = subprocess.run(
        [sys.executable, tmp_path / "harness.py", tmp_path / "crops.npy", "sf1"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "sf1 is not one of the image members" in done.stderr


def test_predict_of_a_path_is_what_the_members_say(run, film, tmp_path):
    root = tmp_path / "set"
    for name in ("real/a.mp4", "fake/b.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(film.read_bytes())
    (root / "fake/c.mp4").write_text("no video\n" * 99)
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
