"""`forensics.serve`: who may use it, what it answers, what it refuses, and that it leaves nothing behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from common.errors import BadInputError
from forensics.serve import jobs as jobs_module
from forensics.serve import uploads
from forensics.serve.guard import Address
from forensics.serve.job import clean_name, clean_suffix
from inference.conclude import failed
from inference.scorer import Scorer
from tests.conftest import ROOT, wait_for
from tests.serving import command, serving
from tests.strange import audio_only, corrupt_packet

EVIL = "http://evil.example"


def test_a_file_is_scored_and_then_gone(served):
    answer = served.ask("POST", "/score?name=clip.mp4", b"video")
    assert answer.status == 200
    assert (answer.json["filename"], answer.json["label"], answer.json["verdict"]) == ("clip.mp4", 0.25, "suspicious")
    assert served.ask("PUT", "/score?name=clip.mp4", b"video").json["status"] == "ok"
    assert {path.suffix for path in served.scorer.paths} == {".mp4"}
    assert not any(path.exists() for path in served.scorer.paths)
    assert len(served.ask("GET", "/jobs").json) == 2


def test_a_job_from_its_arrival_to_its_deletion(served):
    job_id = served.add(b"wait")
    job = served.wait(job_id, "running")
    wait_for(lambda: served.job(job_id)["of"] == 10)
    assert (job["name"], served.job(job_id)["stage"], served.job(job_id)["done"]) == ("clip.mp4", "faces", 3)
    for early in ("page", "result.json", "evidence.zip"):
        answer = served.ask("GET", f"/jobs/{job_id}/{early}")
        assert (answer.status, answer.json["error"]) == (409, "clip.mp4 is not scored yet: running.")
    served.scorer.go.set()
    job = served.wait(job_id)
    assert (job["status"], job["label"], job["verdict"], job["false_positive_rate"]) == (
        "ok",
        0.25,
        "suspicious",
        0.125,
    )
    assert served.files() == [f"{job_id}.json", f"{job_id}.zip"]
    assert served.ask("GET", f"/jobs/{job_id}/result.json").json["filename"] == "clip.mp4"
    page = served.ask("GET", f"/jobs/{job_id}/page")
    assert page.body == b"<!doctype html><p>clip.mp4</p>"
    assert page.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert served.ask("DELETE", f"/jobs/{job_id}").status == 204
    assert served.files() == []
    for method, path in (("GET", ""), ("GET", "/page"), ("GET", "/result.json"), ("POST", "/cancel"), ("DELETE", "")):
        assert served.ask(method, f"/jobs/{job_id}{path}").status == 404


def test_events_report_all_jobs_first_and_then_what_changes(served):
    first = served.add(b"wait")
    served.wait(first, "running")
    with served.events() as events:
        start = next(events)
        assert (start["is_all"], [job["id"] for job in start["jobs"]]) == (True, [first])
        second = served.add(b"video", "b.mp4")
        served.scorer.go.set()
        seen, gone = [], []
        for change in events:
            seen += [(job["id"], job["state"]) for job in change["jobs"]]
            gone += change["gone"]
            if (second, "done") in seen and not gone:
                served.ask("DELETE", f"/jobs/{first}")
            if gone:
                break
        assert gone == [first]
        assert (first, "done") in seen
    wait_for(lambda: not served.jobs._listeners)


def test_a_file_that_is_not_a_video_has_a_status_and_reveals_no_path_of_the_server(served):
    answer = served.ask("POST", "/score?name=notes.txt", b"text")
    assert answer.status == 200
    assert (answer.json["status"], answer.json["reason"]) == ("unsupported", "notes.txt: not a video")
    assert served.ask("GET", "/jobs").json[0]["reason"] == "notes.txt: not a video"


def test_a_bug_ends_one_job_but_not_the_server(served, capfd):
    answer = served.ask("POST", "/score?name=a.mp4", b"defect")
    assert (answer.status, answer.json["error"]) == (500, "a.mp4 has no score: RuntimeError: a defect.")
    assert "a defect" in capfd.readouterr().err
    assert served.ask("POST", "/score", b"video").status == 200
    assert len(served.files()) == 2


def test_cancelling(served):
    running, waiting = served.add(b"wait"), served.add(b"wait")
    served.wait(running, "running")
    assert served.ask("POST", f"/jobs/{waiting}/cancel").json["state"] == "cancelled"
    assert served.files() == [f"{running}.mp4"]
    served.ask("POST", f"/jobs/{running}/cancel")
    assert served.wait(running, "cancelled")["reason"] == "cancelled while it was scored"
    assert served.files() == []
    assert served.ask("GET", f"/jobs/{running}/page").status == 410
    assert served.ask("POST", "/score", b"video").status == 200  # the next has its turn
    done = served.ask("GET", "/jobs").json[-1]["id"]
    assert served.ask("POST", f"/jobs/{done}/cancel").json["state"] == "done"


def test_deleting_unfinished_jobs(served):
    running, waiting = served.add(b"wait"), served.add(b"wait")
    served.wait(running, "running")
    for job_id in (running, waiting):
        assert served.ask("DELETE", f"/jobs/{job_id}").status == 204
    assert served.ask("GET", "/jobs").json == []
    wait_for(lambda: served.files() == [])
    assert served.ask("POST", "/score", b"video").status == 200


def test_too_many_bytes_are_refused_before_they_are_read(served):
    with served.begin("/score?name=big.mp4", size=3_000_000_000, sent=b"") as half:
        assert half.recv(1000).startswith(b"HTTP/1.1 413 ")
    with served.begin("/jobs?name=big.mp4", size=100_001, sent=b"") as half:
        assert half.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert served.scorer.paths == []


def test_without_a_length_the_bytes_are_counted(served):
    chunks = (b"x" * 10_000 for _ in range(11))
    answer = served.ask("POST", "/jobs", chunks)
    assert (answer.status, answer.json["error"]) == (
        413,
        "The file has more than 100,000 bytes, the limit of this server.",
    )
    assert served.files() == []
    assert served.ask("POST", "/score", (b"x" * 10_000 for _ in range(10))).status == 200


def test_a_full_queue_refuses_files(served):
    jobs = [served.add(b"wait"), served.add(b"wait")]
    with served.begin("/jobs"):  # arrives
        wait_for(lambda: len(served.files()) == 3)
        answer = served.ask("POST", "/jobs", b"video")
        assert (answer.status, answer.json["error"]) == (503, "The queue is full: it holds 3 files. Try again later.")
    wait_for(lambda: len(served.files()) == 2)
    served.ask("DELETE", f"/jobs/{jobs[0]}")
    served.add(b"video")


def test_a_file_that_takes_too_long_is_stopped(tmp_path):
    with serving(tmp_path, seconds=1) as served:
        answer = served.ask("POST", "/score?name=long.mp4", b"wait")
        assert (answer.status, served.files()) == (504, [])
        assert answer.json["error"] == "long.mp4 has no score: stopped after 1 seconds, the limit of this server."


def test_an_upload_that_stalls_is_abandoned(served, monkeypatch):
    monkeypatch.setattr(uploads, "STALLED", 0.2)
    with served.begin("/jobs") as half:
        assert half.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert served.files() == []


def test_a_client_that_disconnects_leaves_nothing(served):
    with served.begin("/score"):
        wait_for(lambda: len(served.files()) == 1)
    wait_for(lambda: served.files() == [])
    with served.begin("/score", size=4):
        wait_for(lambda: served.scorer.paths)
        assert len(served.files()) == 1
    wait_for(lambda: served.files() == [])
    assert served.ask("GET", "/jobs").json == []


@pytest.mark.parametrize("disk_error", [OSError(28, "No space left on device")])
def test_a_full_disk_is_reported(served, monkeypatch, disk_error):
    def full(*_):
        raise disk_error

    monkeypatch.setattr("forensics.serve.uploads.Uploads._write", full)
    answer = served.ask("POST", "/jobs", b"video")
    assert (answer.status, answer.json["error"]) == (507, "The server cannot keep the file: No space left on device.")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:{port}.evil.example", ""]
)
def test_another_host_is_refused(served, host):
    assert served.ask("GET", "/jobs", Host=host.format(port=served.port)).status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_requests_to_its_own_names_are_answered(served, host):
    assert served.ask("GET", "/jobs", Host=f"{host}:{served.port}").status == 200


def test_names_of_a_server_on_all_addresses():
    address = Address("0.0.0.0", 8000)
    for ours in ("192.168.1.7:8000", "[fe80::1]:8000", "localhost:8000", f"{socket.gethostname()}:8000"):
        assert address.is_ours(ours)
    for foreign in ("evil.example:8000", "192.168.1.7", "192.168.1.7:80", "192.168.1.7.evil.example:8000"):
        assert not address.is_ours(foreign)
    assert Address("127.0.0.1", 80).is_ours("127.0.0.1")
    assert not Address("127.0.0.1", 8000).is_ours("192.168.1.7:8000")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "https://127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)  # fmt: skip
def test_pages_of_other_sites_are_refused(served, headers):
    job_id = served.add(b"video")
    headers = {name: value.format(port=served.port) for name, value in headers.items()}
    for method, path in (("POST", "/jobs"), ("POST", "/score"), ("POST", f"/jobs/{job_id}/cancel"), ("DELETE", f"/jobs/{job_id}")):  # fmt: skip # noqa: E501
        assert served.ask(method, path, b"", **headers).status == 403
    assert len(served.ask("GET", "/jobs").json) == 1


def test_its_own_page_and_links_to_it_are_answered(served):
    own = {"Origin": f"http://127.0.0.1:{served.port}", "Sec-Fetch-Site": "same-origin"}
    assert served.ask("POST", "/jobs", b"video", **own).status == 202
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert served.ask("GET", "/", **link).status == 200
    assert served.ask("GET", "/jobs", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status == 403


def test_a_token(tmp_path):
    with serving(tmp_path, token="s3cret") as served:
        assert served.add(b"video")
        served.headers.clear()
        for headers in (
            {},
            {"Authorization": "Bearer s3cre"},
            {"Authorization": "Basic s3cret"},
            {"Cookie": "token=s3cret"},
        ):
            answer = served.ask("GET", "/jobs", **headers)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert served.ask("POST", "/score", b"video").status == 401
        assert served.ask("GET", "/?token=s3cre").status == 401
        assert served.ask("GET", "/?token=%C3%A9").status == 401
        assert served.ask("GET", "/jobs?token=s3cret").status == 401
        opened = served.ask("GET", "/?token=s3cret")
        assert (opened.status, opened.headers["Location"]) == (303, "/")
        cookie, *rest = opened.headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=lax"} <= set(rest)
        assert served.ask("GET", "/jobs", Cookie=cookie).status == 200
        assert served.ask("GET", "/jobs", Authorization="bearer s3cret").status == 200


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\videos\\clip.mp4", "clip.mp4"), ("/", "unnamed"), ("", "unnamed"),
        ("<img src=x onerror=alert(1)>.mp4", "<img src=x onerror=alert(1)>.mp4"),
        ("a\r\nb\0.mp4", "a\ufffd\ufffdb\ufffd.mp4"),
        ("\u202egpj.exe", "\ufffdgpj.exe"), ("x" * 300, "x" * 200), ("Füße 🦶.mp4", "Füße 🦶.mp4"),
    ],
)  # fmt: skip
def test_names_of_files_are_only_displayed(given, shown):
    assert clean_name(given) == shown
    assert re.fullmatch(r"(\.[a-z0-9]{1,8})?", clean_suffix(given))


def test_no_name_reaches_the_disk(served):
    for name in ("..%2F..%2Fetc%2Fpasswd", "%2e%2e%2f.mp4", "%00.mp4", "a.m%2Fp4", "%FF%FE.mp4", "x.MP4;rm%20-rf"):
        served.ask("POST", f"/score?name={name}", b"video")
    for path in served.scorer.paths:
        assert path.parent == served.folder
        assert re.fullmatch(r"[0-9a-f]{32}(\.mp4)?", path.name)
    names = [job["name"] for job in served.ask("GET", "/jobs").json]
    assert names[0] == "passwd"
    page = served.ask("GET", f"/jobs/{served.add(b'video', '%3Cimg%20onerror%3E')}/page")
    assert page.status in (200, 409)


def test_the_page_writes_names_as_text(served):
    job_id = served.add(b"video", "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    served.wait(job_id)
    assert b"<img" not in served.ask("GET", f"/jobs/{job_id}/page").body
    assert served.ask("GET", f"/jobs/{job_id}/result.json").json["filename"] == "<img src=x onerror=alert(1)>"


def test_pages_load_nothing_from_elsewhere(served):
    for path in ("/", "/docs", "/serve.css", "/serve.js", "/nowhere"):
        answer = served.ask("GET", path)
        assert answer.status == (404 if path == "/nowhere" else 200)
        assert not re.search(rb"(https?:)?//(?!127\.0\.0\.1)\w+\.\w", answer.body)
        assert answer.headers["Content-Security-Policy"].startswith(
            "default-src 'none'; script-src 'self'; style-src 'self'"
        )
        assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-store")
    assert not re.search(rb"<script>|<style>|style=|onclick=", served.ask("GET", "/").body)
    for path in ("/jobs", "/events", "/score", "/jobs/ID/cancel", "/jobs/ID/result.json", "/jobs/ID/page"):
        assert path in served.ask("GET", "/docs").body.decode()


def test_the_documented_requests_work(served, tmp_path_factory):
    clip = tmp_path_factory.mktemp("clip") / "clip.mp4"
    clip.write_bytes(b"video")
    (first, *_) = re.findall(r"<pre><code>(curl .*)</code></pre>", served.ask("GET", "/docs").body.decode())
    assert first.startswith("curl -T clip.mp4 &#39;http://127.0.0.1") or "'" in first
    address = f"http://127.0.0.1:{served.port}/score?name=clip.mp4"
    for words in (["-T", clip], ["--data-binary", f"@{clip}"]):
        done = subprocess.run(["curl", "-sS", *map(str, words), address], capture_output=True, text=True, check=True)
        assert '"label": 0.25' in done.stdout


def test_history_is_bounded(served, monkeypatch):
    monkeypatch.setattr(jobs_module, "HISTORY", 2)
    for number in range(5):
        served.ask("POST", f"/score?name={number}.mp4", b"video")
    assert [job["name"] for job in served.ask("GET", "/jobs").json] == ["3.mp4", "4.mp4"]
    assert len(served.files()) == 4


def test_unknown_methods_and_paths(served):
    assert served.ask("GET", "/score").status == 405
    assert served.ask("DELETE", "/jobs").status == 405
    assert served.ask("GET", "/jobs/../../etc/passwd").status == 404
    assert served.ask("GET", "/jobs/0/page").json == {"error": "There is no such job. It may have been deleted."}


def test_hosts_and_tokens_that_the_command_refuses(run):
    done = run("-m", "forensics.serve", "--host", "0.0.0.0", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--host 0.0.0.0 lets other machines in: give a --token" in done.stderr
    assert run("-m", "forensics.serve", "--host", "0.0.0.0", "--token", "", check=False).returncode == 2
    assert run("-m", "forensics.serve", "--port", "99999", check=False).returncode == 2


# What follows starts the real command with the shipped networks.


def test_two_servers_cannot_have_one_port(tmp_path, weights, start):
    with command(tmp_path) as (_, client):
        done = start("-m", "forensics.serve", "--port", client.port, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "in use" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_quietly_and_leaves_nothing(tmp_path, weights, clip, number):
    """While one file arrives, another waits, a third is being scored, and a page listens."""
    with command(tmp_path) as (process, client), client.events() as events, client.begin("/jobs") as _:
        assert next(events)["is_all"]
        jobs = [client.add(clip("WolfgangLanger_Pexels.mp4").read_bytes()) for _ in range(2)]
        client.wait(jobs[0], "running")
        wait_for(lambda: client.job(jobs[0])["of"])
        assert len(list(tmp_path.rglob("*.mp4"))) == 2
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        started = time.monotonic()
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - started < 10
        assert (out, err) == ("", "")
        assert process.returncode == (0 if number == signal.SIGINT else 143)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ProcessLookupError):  # no worker is left in its group
            wait_for(lambda: os.killpg(process.pid, 0), 5)


def test_a_signal_ends_it_quietly_at_any_moment(tmp_path, weights):
    for wait in (0.3, 0.6, 0.9, 1.2):
        process = subprocess.Popen(
            [sys.executable, "-m", "forensics.serve", "--port", "0"], cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        time.sleep(wait)
        process.terminate()
        _, err = process.communicate(timeout=30)
        assert (err, list(tmp_path.iterdir())) == ("", []), wait


def test_a_signal_before_the_event_loop_exists_ends_it_quietly(weights, start):
    program = (
        "import os, signal, sys, uvicorn\nfrom common.command import run_script\n"
        "import forensics.serve.__main__ as serve\n"
        "made = uvicorn.Config.get_loop_factory\n"
        "def interrupted(config):\n    os.kill(os.getpid(), signal.SIGTERM)\n    return made(config)\n"
        "uvicorn.Config.get_loop_factory = interrupted\n"
        "sys.argv = ['serve', '--port', '0']\nrun_script(serve.main)\n"
    )
    done = start("-c", program, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (143, "")


def test_a_signal_while_the_private_folder_is_made_leaves_no_folder(tmp_path, start):
    program = (
        "import os, signal\nfrom common.command import run_script\n"
        "from forensics.serve.__main__ import private_folder\n"
        "make = os.mkdir\n"
        "def interrupted(*words):\n    make(*words)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "def main():\n    os.mkdir = interrupted\n    with private_folder():\n        return 0\n"
        "run_script(main)\n"
    )
    done = start("-c", program, check=False, timeout=30, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (143, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_a_compiled_module_is_imported_ends_it_quietly(weights, start, number, status):
    """ONNX Runtime's module, told to stop while it is loaded, raises ImportError or aborts."""
    program = (
        "import signal, sys\nfrom pathlib import Path\nimport numpy\n"
        "from common.onnx_session import load_session\nfrom common.command import run_script\n"
        "def alarm(event, args):\n"
        "    if event == 'import' and args[0].endswith('onnxruntime_pybind11_state') and args[1]:\n"
        "        signal.setitimer(signal.ITIMER_REAL, .002)\n"
        "def main():\n"
        f"    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal({number.value}))\n"
        f"    sys.addaudithook(alarm)\n    load_session(Path({str(weights)!r}), 1)\n    return 0\n"
        "run_script(main)\n"
    )
    done = start("-c", program, check=False, timeout=30)
    assert done.returncode == status
    assert done.stderr in ("", "interrupted; finished work is kept, and running it again goes on\n")


def hostile_files(clip, folder):
    """Fifty files that are not ordinary videos, by name."""
    good = clip("single_face.mp4").read_bytes()
    audio_only(folder / "sound.mp4")
    (folder / "broken.mp4").write_bytes(good)
    corrupt_packet(folder / "broken.mp4", 5)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {
        "empty.mp4": b"",
        "notes.txt": b"hello",
        "zeros.mp4": bytes(50_000),
        "#EXTM3U.m3u8": b"#EXTM3U\nfile:///etc/passwd",
    }
    files |= {f"cut{at}.mp4": good[: len(good) * at // 20] for at in range(1, 20)}
    files |= {f"tail{at}.mp4": good[len(good) * at // 10 :] for at in range(1, 10)}
    files |= {f"noise{at}.jpg": os.urandom(1000 * at) for at in range(1, 8)}
    files |= {f"head{at}.png": b"\x89PNG\r\n\x1a\n" + os.urandom(100 * at) for at in range(1, 6)}
    files |= {
        "a.gif": b"GIF89a\xff\xff\xff\xff",
        "b.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "c.avi": b"RIFF0000AVI LIST",
    }
    return files | {"d.zip": b"PK\3\4" + bytes(100)}


def test_fifty_hostile_files_have_fifty_statuses(tmp_path, tmp_path_factory, weights, clip):
    files = hostile_files(clip, tmp_path_factory.mktemp("hostile"))
    assert len(files) == 50
    with Scorer() as scorer, serving(tmp_path, scorer) as served:
        for name, content in files.items():
            answer = served.ask("POST", f"/score?name={name.replace('#', '%23')}", content)
            assert (answer.status, answer.json["filename"]) == (200, name)
            assert answer.json["status"] in ("ok", "no_face", "too_few_frames", "decode_error", "unsupported"), name
            assert str(tmp_path) not in answer.body.decode()
        assert len(served.ask("GET", "/jobs").json) == 50
        assert served.ask("POST", "/score", clip("single_face.mp4").read_bytes()).json["status"] == "ok"
        for job in served.ask("GET", "/jobs").json:
            assert str(tmp_path) not in served.ask("GET", f"/jobs/{job['id']}/page").body.decode()


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x"}, "multipart/form-data"),
        ({"Content-Type": "application/json"}, "application/json"),
        ({"Content-Encoding": "gzip"}, "compressed (gzip)"),
    ],
)
@pytest.mark.parametrize("path", ["/score", "/jobs"])
def test_a_body_that_is_not_the_file_is_refused_with_a_line_that_works(served, headers, what, path):
    """A form was once scored with its envelope, under the sha256 of the envelope."""
    answer = served.ask("POST", f"{path}?name=clip.mp4", b"video", **headers)
    assert answer.status == 415
    assert what in answer.json["error"]
    assert f"curl -T FILE 'http://127.0.0.1:{served.port}{path}?name=FILE'" in answer.json["error"]
    assert served.ask("GET", "/jobs").json == []
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # of curl --data-binary
    assert served.ask("POST", "/score?name=clip.mp4", b"video", **form).status == 200


def test_the_answer_is_the_row_of_a_submission(served):
    answer = served.ask("PUT", "/score?name=clip.mp4", b"video").json
    row = failed("clip.mp4", BadInputError("not a video"), ["b0"]).to_row()
    assert list(answer) == list(row)
    assert answer["schema"] == 1


def test_a_folder_that_was_cleaned_away_is_made_again(served):
    """As systemd-tmpfiles does after ten days. What was in it is gone, and said to be."""
    job_id = served.add(b"video")
    served.wait(job_id)
    for path in served.folder.iterdir():
        path.unlink()
    served.folder.rmdir()
    for part in ("page", "result.json"):
        answer = served.ask("GET", f"/jobs/{job_id}/{part}")
        assert (answer.status, "gone" in answer.json["error"]) == (410, True)
    assert served.ask("PUT", "/score?name=b.mp4", b"video").json["status"] == "ok"


def test_a_result_survives_the_removal_of_the_folder_while_it_is_made(served):
    job_id = served.add(b"wait")
    wait_for(lambda: served.scorer.paths)
    shutil.rmtree(served.folder)
    served.scorer.go.set()
    served.wait(job_id)
    assert served.ask("GET", f"/jobs/{job_id}").json["state"] == "done"
    assert served.ask("GET", f"/jobs/{job_id}/result.json").status == 200
