"""A power cut leaves the old or the new, whole: what is written is recorded and cut off after each call.

The model of a disk is the worst that POSIX allows. A file's content is safe once it was synced after its last write,
alone or with its file system. A rename may be on the disk at once, or only when its folder is synced.
"""

import os
from pathlib import Path

import pytest

from common.files import atomic_file, atomic_folder, write_text


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The calls that matter, in order, each with what the files held at that moment."""
    made = []

    def state():
        return {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    def recording(name, call):
        def recorded(*arguments):
            paths = [
                str(Path(f"/proc/self/fd/{one}").readlink()) if isinstance(one, int) else os.fspath(one)
                for one in arguments
            ]
            made.append((name, paths, state()))
            return call(*arguments)

        return recorded

    for name in ("fsync", "replace", "rename"):
        monkeypatch.setattr(os, name, recording(name, getattr(os, name)))

    class Library:
        syncfs = staticmethod(recording("syncfs", lambda descriptor: 0))

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Library)
    return made


def after_a_cut(calls, target, old):
    """What `target` may hold if the power fails after the first calls: a set of contents, None for a torn one."""
    safe, holds, before = {}, {target: old}, {old}
    for name, paths, state in calls:
        if name == "fsync":
            safe |= {path: content for path, content in state.items() if str(path) == paths[0]}
            if paths[0] == str(target.parent):
                before = {holds[target]}
        elif name == "syncfs":
            safe |= state
        else:
            source, renamed = paths
            assert renamed == str(target)
            mine = {str(path)[len(source) :]: path for path in state if str(path).startswith(source)}
            whole = all(safe.get(path) == state[path] for path in mine.values())
            holds[target] = tuple(sorted((path, state[mine[path]]) for path in mine)) if whole else None
            before = before | {holds[target]}
    return before


def test_a_file(tmp_path, calls):
    path = tmp_path / "file.txt"
    path.write_text("old")
    write_text(path, "new")
    old, new = (("", b"old"),), (("", b"new"),)
    assert [name for name, *_ in calls] == ["fsync", "replace", "fsync"]
    for length in range(len(calls) + 1):
        assert after_a_cut(calls[:length], path, old) <= {old, new}
    assert after_a_cut(calls, path, old) == {new}


def test_a_folder_is_synced_by_one_call(tmp_path, calls):
    path = tmp_path / "video"
    with atomic_folder(path) as folder:
        for number in range(3):
            (folder / f"{number}.png").write_bytes(b"crop")
    new = tuple((f"/{number}.png", b"crop") for number in range(3))
    assert [name for name, *_ in calls] == ["syncfs", "rename", "fsync"]
    for length in range(len(calls) + 1):
        assert after_a_cut(calls[:length], path, "none") <= {"none", new}
    assert after_a_cut(calls, path, "none") == {new}


def test_the_check_notices_what_is_not_synced(tmp_path, calls, monkeypatch):
    monkeypatch.setattr("common.files.sync", lambda path: None)
    path = tmp_path / "file.txt"
    write_text(path, "new")
    assert after_a_cut(calls, path, "none") == {"none", None}


def test_a_file_that_cannot_be_synced_is_an_error(tmp_path, monkeypatch):
    """A full or broken disk may say so only now; the old file stays."""
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"), atomic_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
