"""Where files are kept that can be made again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.cache import VARIABLE, cached
from tests.conftest import ROOT


def test_the_users_cache_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached("wheels/a.whl") == tmp_path / "robustforensics/wheels/a.whl"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    assert cached("a") == tmp_path / "elsewhere/a"


def test_without_a_place_a_temporary_folder_serves_and_is_said_once(monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, "/proc/nowhere")
    first, second = cached("a"), cached("b")
    assert first.parent == second.parent
    assert first.parent.is_dir()
    assert capsys.readouterr().err.count("/proc/nowhere cannot be written to") == 1


@pytest.mark.slow
def test_a_read_only_install_scores(clip, weights, tmp_path):
    """Neither the folder of the program nor the user's cache can be written to, and scoring needs neither."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {"XDG_CACHE_HOME": "/proc/nowhere", "HOME": "/proc/nowhere"}
    hidden = "mount -t tmpfs -o ro none inference/face_detect_ckpt && mount --bind . . && mount -o remount,ro,bind . ."
    video = Path(clip("single_face.mp4")).resolve()
    command = f"{sys.executable} -m inference.predict {video} --output {tmp_path}/s.csv --weights {weights.resolve()}"
    kept = tmp_path / weights.name
    kept.write_bytes(weights.read_bytes())
    command = command.replace(str(weights.resolve()), str(kept))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{hidden} && cd {ROOT} && {command}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cannot be written to" not in done.stderr
    assert "1 ok" in done.stdout
