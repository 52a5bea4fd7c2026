"""A kill leaves the old or the new, never half."""

import os
import signal
import subprocess
import sys

import pytest

from common.errors import BadInputError
from common.files import atomic_file, atomic_folder, write_text
from common.folders import numbered_frames, safe_relative
from tests.conftest import ROOT


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new/file.txt"
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    write_text(path, "old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "part/video"
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "a").touch()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with atomic_folder(path) as folder:
        (folder / "a").touch()
        assert not path.exists()
    assert [entry.name for entry in path.iterdir()] == ["a"]
    with pytest.raises(FileExistsError, match="remove it"), atomic_folder(path):
        pass


def test_left_overs_of_the_dead_are_removed_those_of_the_living_stay(tmp_path):
    path = tmp_path / "video"
    script = f"""
import sys
from pathlib import Path
from common.files import atomic_folder
with atomic_folder(Path({str(path)!r})) as folder:
    (folder / "half").touch()
    print("ready", flush=True)
    sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = [sys.executable, "-c", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    dead, living = (subprocess.Popen(start, env=environment, **pipes) for _ in range(2))
    assert {process.stdout.readline() for process in (dead, living)} == {b"ready\n"}
    os.kill(dead.pid, signal.SIGKILL)
    dead.communicate()
    with atomic_folder(path) as folder:
        (folder / "ours").touch()
        assert len(list(tmp_path.glob(".video.*.partial"))) == 2  # ours and the living one's
    living.communicate()
    assert [entry.name for entry in tmp_path.iterdir()] == ["video"]
    assert [entry.name for entry in path.iterdir()] == ["ours"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a\\b"])
def test_names_may_not_leave_their_folder(name):
    with pytest.raises(BadInputError, match="unsafe name"):
        safe_relative(name)


def test_frames_come_in_order_of_their_number(tmp_path):
    for number in range(1, 12):
        (tmp_path / f"frame{number}.png").touch()
    for stray in ("frame01.png", "frame1.txt", "xframe1.png", "frame.png", "Thumbs.db"):
        (tmp_path / stray).touch()
    assert [path.name for path in numbered_frames(tmp_path, ".png")] == [
        f"frame{number}.png" for number in range(1, 12)
    ]


def test_processes_on_the_same_folders_do_not_trip_over_each_other(tmp_path):
    """Two processes make and replace the same two folders, one of whose names begins with the
    other's, as fast as they can.
    """
    script = f"""
import shutil
from pathlib import Path
from common.files import atomic_folder
for number in range(300):
    for name in ("a", "a.b"):
        path = Path({str(tmp_path)!r}) / name
        try:
            with atomic_folder(path) as folder:
                (folder / "x").touch()
        except FileExistsError:
            pass
        if number < 299:
            shutil.rmtree(path, ignore_errors=True)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert not list(tmp_path.glob(".*"))
