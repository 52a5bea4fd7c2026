"""Batches of `forensics.serve`: many files in one form, one job each, and forms that are broken or hostile."""

import asyncio
import hashlib
import http.client
import json
import os
import re
import subprocess
import tracemalloc
from itertools import pairwise

import pytest

from forensics.serve import jobs as jobs_module
from forensics.serve import uploads
from forensics.serve.multipart import Form
from tests.conftest import wait_for
from tests.serving import FakeScorer, form, serving


def add_batch(served, *files, query=""):
    answer = served.ask("POST", f"/batches{query}", **form(files))
    assert (answer.status, answer.headers["Location"]) == (202, f"/batches/{answer.json['id']}")
    return answer.json["id"]


def test_a_batch_is_one_job_with_a_result_per_file(served):
    batch_id = add_batch(served, ("a.mp4", b"wait"), ("b.txt", b"text"), ("c.mp4", b"defect"))
    wait_for(lambda: served.ask("GET", f"/batches/{batch_id}").json["state"] == "running")
    assert served.ask("GET", f"/batches/{batch_id}").json["finished"] == 0
    served.scorer.go.set()
    wait_for(lambda: served.ask("GET", f"/batches/{batch_id}").json["state"] == "done")
    batch = served.ask("GET", f"/batches/{batch_id}").json
    assert (batch["id"], batch["finished"], batch["of"]) == (batch_id, 3, 3)
    results = [(job["name"], job["state"], job["status"], job["label"]) for job in batch["files"]]
    assert results == [
        ("a.mp4", "done", "ok", 0.25),
        ("b.txt", "done", "unsupported", 0.5),
        ("c.mp4", "failed", None, None),
    ]
    assert served.ask("GET", "/jobs").json == batch["files"]
    row = served.ask("GET", f"/jobs/{batch['files'][0]['id']}/result.json").json
    assert (row["filename"], row["label"]) == ("a.mp4", 0.25)


def test_a_batch_is_cancelled_and_deleted(served):
    batch_id = add_batch(served, ("a.mp4", b"wait"), ("b.mp4", b"wait"))
    assert served.ask("POST", f"/batches/{batch_id}/cancel").status == 200
    wait_for(lambda: served.ask("GET", f"/batches/{batch_id}").json["finished"] == 2)
    batch = served.ask("GET", f"/batches/{batch_id}").json
    assert (batch["state"], {job["state"] for job in batch["files"]}) == ("cancelled", {"cancelled"})
    assert served.ask("DELETE", f"/batches/{batch_id}").status == 204
    assert served.ask("GET", "/jobs").json == []
    assert served.files() == []
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        assert served.ask(method, f"/batches/{batch_id}{path}").status == 404


def test_a_deleted_job_leaves_its_batch_and_the_last_one_takes_it_along(served):
    batch_id = add_batch(served, ("a.mp4", b"video"), ("b.mp4", b"video"))
    first, second = (job["id"] for job in served.ask("GET", f"/batches/{batch_id}").json["files"])
    served.wait(second)
    served.ask("DELETE", f"/jobs/{first}")
    batch = served.ask("GET", f"/batches/{batch_id}").json
    assert ([job["id"] for job in batch["files"]], batch["of"]) == ([second], 1)
    served.ask("DELETE", f"/jobs/{second}")
    assert served.ask("GET", f"/batches/{batch_id}").status == 404
    assert served.files() == []


def test_a_batch_survives_a_restart_and_says_what_was_lost(tmp_path):
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        batch_id = add_batch(served, ("a.mp4", b"video"), ("gone.mp4", b"video"), ("c.mp4", b"wait"))
        jobs = served.ask("GET", f"/batches/{batch_id}").json["files"]
        served.wait(jobs[2]["id"], "running")
        served.ask("DELETE", f"/jobs/{jobs[1]['id']}")
    for _ in range(2):
        with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
            batch = served.ask("GET", f"/batches/{batch_id}").json
            assert (batch["state"], batch["finished"], batch["of"]) == ("done", 2, 2)
            assert [(job["name"], job["state"]) for job in batch["files"]] == [
                ("a.mp4", "done"),
                ("c.mp4", "lost"),
            ]
            assert batch["files"][1]["reason"] == "lost when the server ended: send it again"
            answer = served.ask("GET", f"/jobs/{jobs[2]['id']}/result.json")
            assert answer.status == 410
            assert len(served.ask("GET", "/jobs").json) == 2
    assert b"gone.mp4" not in b"".join(path.read_bytes() for path in (tmp_path / "keep").iterdir())
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        assert served.ask("DELETE", f"/batches/{batch_id}").status == 204
    assert list((tmp_path / "keep").iterdir()) == []


def test_what_waits_is_lost_with_the_server_and_known_afterwards(tmp_path):
    """A file sent alone, a batch of which nothing was scored, and a job that was cancelled in time."""
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        running, waiting, cancelled = (served.add(b"wait", f"{name}.mp4") for name in "abc")
        served.wait(running, "running")
        served.ask("POST", f"/jobs/{cancelled}/cancel")
        batch_id = add_batch(served, ("d.mp4", b"video"), ("e.mp4", b"video"))
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        for job_id, state in ((running, "lost"), (waiting, "lost"), (cancelled, "cancelled")):
            assert served.ask("GET", f"/jobs/{job_id}").json["state"] == state
        assert served.ask("GET", f"/jobs/{waiting}/result.json").status == 410
        assert served.ask("GET", f"/jobs/{cancelled}/result.json").status == 410
        (batch,) = served.ask("GET", "/batches").json
        assert (batch["id"], batch["state"], batch["finished"], batch["of"]) == (batch_id, "lost", 2, 2)
        for job in served.ask("GET", "/jobs").json:
            served.ask("DELETE", f"/jobs/{job['id']}")
    assert list((tmp_path / "keep").iterdir()) == []


def test_no_result_of_an_unfinished_batch_is_forgotten(served, monkeypatch):
    monkeypatch.setattr(jobs_module, "HISTORY", 1)
    batch_id = add_batch(served, ("a.mp4", b"video"), ("b.mp4", b"video"), ("c.mp4", b"wait"))
    wait_for(lambda: served.ask("GET", f"/batches/{batch_id}").json["finished"] == 2)
    served.scorer.go.set()
    wait_for(lambda: served.ask("GET", "/jobs").json[-1]["state"] == "done")
    assert [job["name"] for job in served.ask("GET", "/jobs").json] == ["c.mp4"], "now it is finished"


def test_a_batch_is_for_a_case(served, monkeypatch):
    batch_id = add_batch(served, ("a.mp4", b"video"), ("b.mp4", b"video"), query="?number=2026-117&exhibit=A-3")
    for job in served.ask("GET", f"/batches/{batch_id}").json["files"]:
        served.wait(job["id"])
        case = served.jobs.jobs[job["id"]].case
        assert (case.number, case.exhibit) == ("2026-117", "A-3")


def test_what_a_request_may_not_ask_for(served):
    """Parameters and paths that do not exist, and a method."""
    for path, has in (
        ("/score?nmae=a.mp4", "name, number, "),
        ("/batches?name=a", "number, "),
        ("/jobs?page=2", "none"),
    ):
        answer = served.ask("POST" if "=a" in path else "GET", path, b"video" if "=a" in path else None)
        assert (answer.status, f": it has {has}" in answer.json["error"]) == (400, True)
    assert served.ask("GET", "/jobs/").status == 404
    answer = served.ask("PUT", "/batches")
    assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "POST"})


def test_a_full_queue_says_when_to_try_again(tmp_path):
    with serving(tmp_path, queue=1) as served:
        served.add(b"wait")
        answer = served.ask("POST", "/jobs", b"video")
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        assert "holds 1 file." in answer.json["error"]


def test_curl_sends_a_batch_as_documented(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in "ab":
        (folder / f"{name}.mp4").write_bytes(b"video")
    (line,) = re.findall(r"curl (-F file=@a.mp4 -F file=@b.mp4) ", served.ask("GET", "/docs").body.decode())
    words = ["curl", "-sS", *line.split(), f"http://127.0.0.1:{served.port}/batches"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    assert [job["name"] for job in json.loads(done.stdout)["files"]] == ["a.mp4", "b.mp4"]


def test_all_files_of_a_batch_are_taken_or_none(served):
    too_large = form([("a.mp4", b"wait"), ("b.mp4", b"x" * 100_001)])
    too_many = form([(f"{number}.mp4", b"wait") for number in range(4)])
    for body, status, why in ((too_large, 413, "100,000 bytes"), (too_many, 413, "A batch may hold 3 files")):
        answer = served.ask("POST", "/batches", **body)
        assert (answer.status, why in answer.json["error"]) == (status, True)
        wait_for(lambda: served.files() == [])
        assert served.ask("GET", "/jobs").json == []
    served.add(b"wait")
    answer = served.ask("POST", "/batches", **form([(f"{number}.mp4", b"wait") for number in range(3)]))
    assert (answer.status, answer.json["error"]) == (503, "The queue is full: it holds 3 files. Try again later.")
    assert len(served.ask("GET", "/jobs").json) == 1
    assert served.ask("POST", "/batches", **form([(f"{number}.mp4", b"wait") for number in range(2)])).status == 202


def test_a_batch_that_cannot_be_kept_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("forensics.serve.batch.Batch.save", full)
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        answer = served.ask("POST", "/batches", **form([("a.mp4", b"wait"), ("b.mp4", b"wait")]))
        assert (answer.status, answer.json["error"]) == (
            507,
            "The server cannot keep the batch: No space left on device.",
        )
        wait_for(lambda: served.files() == [])
        assert served.ask("GET", "/jobs").json == []


GOOD = form([("a.mp4", b"wait")], end=False)["body"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (GOOD, "it has no end"),
        (b"", "it has no end"),
        (b"--XX", "it has no end"),
        (b"--YY--\r\n", "broken"),
        (b"no form at all", "broken"),
        (b"--XX--\r\n", "The form holds no file"),
        (GOOD + b'--XX\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n--XX--\r\n', "The part 'note'"),
        (GOOD + b"--XX\r\n\r\nhello\r\n--XX--\r\n", "The part '' of the form is not a file"),
        (GOOD + b"--XX\r\nContent-Disposition: " + b"x" * 100_000 + b"\r\n\r\n", "broken: Maximum header size"),
        (GOOD + b"--XX\r\n" + b"A: b\r\n" * 1000 + b"\r\nhello\r\n--XX--\r\n", "broken: Maximum header count"),
        (GOOD + b"--XX\r\nbad header\r\n\r\n\r\n--XX--\r\n", "broken"),
        (b"\x00" * 50_000, "broken"),
    ],
)  # fmt: skip
def test_a_broken_form_is_refused_and_leaves_nothing(served, body, why, caplog):
    answer = served.ask("POST", "/batches", body, **{"Content-Type": "multipart/form-data; boundary=XX"})
    assert (answer.status, why in answer.json["error"]) == (400, True), answer.json
    wait_for(lambda: served.files() == [])
    assert served.ask("GET", "/jobs").json == []
    assert served.jobs.batches == {}
    assert served.ask("POST", "/score", b"video").status == 200
    assert caplog.records == []  # no client writes into the log


@pytest.mark.parametrize(
    ("headers", "status", "why"),
    [
        ({}, 415, "The body is of no kind, but it must be a form of files, as in: curl -F"),
        ({"Content-Type": "video/mp4"}, 415, "The body is video/mp4"),
        ({"Content-Type": "multipart/mixed; boundary=XX"}, 415, "The body is multipart/mixed"),
        ({"Content-Type": "multipart/form-data; boundary=XX", "Content-Encoding": "gzip"}, 415, "compressed (gzip)"),
        ({"Content-Type": "multipart/form-data"}, 400, "names no boundary"),
        ({"Content-Type": "multipart/form-data; boundary="}, 400, "names no boundary"),
        ({"Content-Type": "multipart/form-data; boundary=" + "x" * 1000}, 400, "broken"),
    ],
)
def test_what_is_not_a_form_is_no_batch(served, headers, status, why):
    answer = served.ask("POST", "/batches", form([("a.mp4", b"video")])["body"], **headers)
    assert (answer.status, why in answer.json["error"]) == (status, True), answer.json
    assert served.ask("GET", "/jobs").json == []


def test_names_in_a_form_are_only_displayed(served):
    names = ["../../etc/passwd", "F\u00fc\u00dfe \U0001f9b6.mp4", ""]
    batch_id = add_batch(served, *((name, b"video") for name in names))
    shown = [job["name"] for job in served.ask("GET", f"/batches/{batch_id}").json["files"]]
    assert shown == ["passwd", names[1], "unnamed"]
    wait_for(lambda: len(served.scorer.paths) == 3)
    assert {path.parent for path in served.scorer.paths} == {served.folder}


def test_a_batch_that_stalls_or_is_left_by_its_client_leaves_nothing(served, monkeypatch):
    head = "POST /batches HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: 9999\r\n\r\n"  # noqa: E501
    for sent in (GOOD, GOOD + b"--XX\r\nContent-Disp", GOOD + b"--XX\r\n"):  # in the content of a file, and between two
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        connection.connect()
        connection.sock.sendall(head.format(served.port).encode() + sent)
        wait_for(lambda: len(served.files()) == 1)
        connection.close()
        wait_for(lambda: served.files() == [])
    monkeypatch.setattr(uploads, "STALLED", 0.3)
    connection.connect()
    connection.sock.sendall(head.format(served.port).encode() + GOOD + b"--XX\r\nContent-Disp")
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 408 ")
    connection.close()
    wait_for(lambda: served.files() == [])
    assert served.ask("GET", "/jobs").json == []


def test_a_batch_goes_to_the_disk_and_not_to_memory(tmp_path):
    """20 MB in two files take less than 3 MB, of the client as well."""
    begin, middle = (form([(name, b"")], end=False)["body"][:-2] for name in ("a.mp4", "b.mp4"))
    chunk = b"wait" + bytes(65532)

    def body():
        yield begin
        yield from [chunk] * 160
        yield b"\r\n" + middle
        yield from [chunk] * 160
        yield b"\r\n--XX--\r\n"

    with serving(tmp_path) as served:
        served.wait(served.add(b"wait"), "running")  # so that the others are not read yet
        tracemalloc.start()
        try:
            answer = served.ask("POST", "/batches", body(), **{"Content-Type": "multipart/form-data; boundary=XX"})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert answer.status == 202
        sizes = [path.stat().st_size for path in served.folder.iterdir()]
        assert sorted(sizes) == [4, 160 * 65536, 160 * 65536]
    assert peak < 3_000_000


class Remembering(FakeScorer):
    """Remembers the digest of each file."""

    def score(self, path, name=None, watch=None):
        self.digests = [*getattr(self, "digests", []), hashlib.sha256(path.read_bytes()).hexdigest()]
        return super().score(path, name, watch)


def test_each_file_arrives_byte_for_byte(tmp_path):
    """However the network cuts the form, and whatever in the files looks like its boundary."""
    contents = [
        b"",
        b"\r\n",
        b"\r\n--X",
        b"--XX\r\n",
        b"\r\n--XY--\r\n" * 50,
        os.urandom(1000),
        b"\r\n\r\n--\r\n--X\r\nX",
    ]
    body = form([(f"{number}.mp4", content) for number, content in enumerate(contents)])["body"]

    async def arrived(cuts):
        async def chunks():
            for start, end in pairwise((0, *cuts, len(body))):
                yield body[start:end]

        files = Form("multipart/form-data; boundary=XX", chunks()).files()
        return [(name, b"".join([chunk async for chunk in content])) async for name, content in files]

    expected = [(f"{number}.mp4", content) for number, content in enumerate(contents)]
    for size in (*range(1, 60), 997, len(body)):
        assert asyncio.run(arrived(range(size, len(body), size))) == expected
    with serving(tmp_path, Remembering()) as served:
        batch_id = add_batch(served, *expected)
        wait_for(lambda: served.ask("GET", f"/batches/{batch_id}").json["state"] == "done")
        assert served.scorer.digests == [hashlib.sha256(content).hexdigest() for content in contents]
