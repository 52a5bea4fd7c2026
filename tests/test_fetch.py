"""Wheels from a local package index that cuts connections, serves another file, or does not exist."""

import functools
import hashlib
import http.server
import threading
import zipfile

import pytest

from common.cache import VARIABLE
from pretrain.wheels import FetchError, Wheel, fetch, unpack

NAME = "clips-0.1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index with one wheel of 3 MB, which cuts the first download in half; yields the wheel and requests."""
    folder = tmp_path / "index/clips"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / NAME, "w") as archive:
        archive.writestr("clips/a.mp4", bytes(range(256)) * 12000)
        archive.writestr("clips-0.1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: clips\nVersion: 0.1.0\n")
        archive.writestr("clips-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("clips-0.1.0.dist-info/RECORD", "")
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{NAME}">{NAME}</a>')
    content = (folder / NAME).read_bytes()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if not self.path.endswith(".whl"):
                super().do_GET()
                return
            requests.append(self.headers.get("Range"))
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", '"one"')
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            end = len(content) // 2 if len(requests) == 1 else len(content)
            self.wfile.write(content[start:end])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path / "index"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    yield Wheel("clips", "0.1.0", NAME, hashlib.sha256(content).hexdigest()), requests
    server.shutdown()


def test_a_cut_connection_is_resumed_and_the_wheel_kept(index, tmp_path, capsys):
    wheel, requests = index
    path = fetch(wheel)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == wheel.sha256
    assert len(requests) == 2
    assert requests[1].startswith("bytes="), "the second request should ask for the rest only"
    assert "fetching clips 0.1.0" in capsys.readouterr().out
    assert fetch(wheel) == path
    assert len(requests) == 2
    assert [file.name for file in (tmp_path / "cache/wheels").iterdir()] == [NAME]


def test_another_sha256_is_refused(index, tmp_path):
    wheel, _ = index
    other = Wheel(wheel.name, wheel.version, wheel.file, "0" * 64)
    with pytest.raises(FetchError, match=r"(?s)could not fetch clips 0\.1\.0.*0000"):
        fetch(other)
    assert list((tmp_path / "cache/wheels").iterdir()) == []


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name, value in (
        ("INDEX_URL", "http://127.0.0.1:9/"),
        ("EXTRA_INDEX_URL", ""),
        ("FIND_LINKS", ""),
        ("RETRIES", "0"),
    ):
        monkeypatch.setenv(f"PIP_{name}", value)
    wheel = Wheel("clips", "0.1.0", NAME, "0" * 64)
    with pytest.raises(FetchError, match=rf"needs the Python package registry.*put {NAME} \(sha256 0+\) into"):
        fetch(wheel)


def test_a_wheel_that_was_put_there_by_hand_is_checked_too(index, tmp_path):
    wheel, requests = index
    (tmp_path / "cache/wheels").mkdir(parents=True)
    (tmp_path / "cache/wheels" / NAME).write_bytes(b"half")
    with pytest.raises(FetchError, match="has another sha256"):
        fetch(wheel)
    assert requests == []


def test_unpacking_takes_one_file(index, tmp_path):
    wheel, _ = index
    path = unpack(fetch(wheel), "clips/a.mp4", tmp_path / "clips/a.mp4")
    assert path.stat().st_size == 256 * 12000
    assert [file.name for file in (tmp_path / "clips").iterdir()] == ["a.mp4"]
