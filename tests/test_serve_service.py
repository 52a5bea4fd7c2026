"""`forensics.serve` as a service: its OpenAPI document, /healthz, a proxy, the token's sources, --keep, batches."""

import argparse
import asyncio
import hashlib
import http.client
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
import urllib.parse
import zipfile
from itertools import pairwise
from pathlib import Path

import openapi_spec_validator
import pytest

from common.errors import BadInputError
from common.version import VERSION
from forensics.serve import jobs as jobs_module
from forensics.serve import openapi, uploads
from forensics.serve.__main__ import token_of
from forensics.serve.app import make_app
from forensics.serve.guard import Address
from forensics.serve.multipart import Form
from inference.scorer import Scorer
from tests.conftest import wait_for
from tests.serving import FakeScorer, command, document, form, serving
from tests.test_deploy import unit_words

PROXY = "scores.example.org"


# /openapi.json. tests/serving.py checks every answer of the tests of this server against it.


def operations(described):
    """The operations of a document by path and method."""
    return {
        (path, method.upper()): op for path, methods in described["paths"].items() for method, op in methods.items()
    }


def test_the_document_is_valid_and_describes_every_route(served):
    answer = served.ask("GET", "/openapi.json").json
    openapi_spec_validator.validate(answer, cls=openapi_spec_validator.OpenAPIV31SpecValidator)
    assert (answer["openapi"], answer["info"]["version"]) == ("3.1.0", VERSION)
    routes = make_app(served.jobs, Address("127.0.0.1", 8000)).routes
    pages = {("/", "GET"), ("/docs", "GET"), ("/serve.css", "GET"), ("/serve.js", "GET")}
    routed = {(route.path, method) for route in routes for method in route.methods - {"HEAD"}}
    assert routed - pages == set(operations(answer))
    names = [operation["operationId"] for operation in operations(answer).values()]
    assert len(names) == len(set(names)) > 15


def test_the_page_for_programmers_lists_what_the_document_describes(served):
    page = served.ask("GET", "/docs").body.decode()
    rows = re.findall(r"<tr><td><code>([A-Z, ]+) (\S+)</code></td><td>\w", page)
    listed = {(path.replace("/ID", "/{id}"), method) for methods, path in rows for method in methods.split(", ")}
    assert listed == set(operations(document()))
    reasons = set(re.findall(r"<tr><td>(\d+)</td><td>\w", page))
    statuses = {status for operation in operations(document()).values() for status in operation["responses"]}
    assert statuses - reasons == {"200", "202", "204"}
    assert "<code>Authorization: Bearer TOKEN</code>" in page


def test_the_token_is_in_the_document_of_a_server_that_has_one(served, tmp_path):
    assert "security" not in served.ask("GET", "/openapi.json").json
    with serving(tmp_path / "other", token="s3cret") as other:
        answer = other.ask("GET", "/openapi.json").json
        openapi_spec_validator.validate(answer)
        assert answer["security"] == [{"token": []}]
        without = [path for (path, _), operation in operations(answer).items() if operation.get("security") == []]
        assert without == ["/healthz"]
        assert "401" not in answer["paths"]["/healthz"]["get"]["responses"]
        other.headers.clear()
        assert other.ask("GET", "/openapi.json").status == 401


def test_a_row_is_described_by_the_file_of_its_schema(monkeypatch, tmp_path):
    path = tmp_path / "row.schema.json"
    monkeypatch.setattr(openapi, "ROW", path)
    assert openapi.row_schemas()["Row"]["type"] == "object"
    face = {"type": "object", "properties": {"score": {"type": "number"}}}
    row = {"type": "object", "properties": {"face": {"$ref": "#/$defs/Face"}}}
    path.write_text(
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"Face": face}} | row)
    )
    described = {"type": "object", "properties": {"face": {"$ref": "#/components/schemas/Face"}}}
    assert openapi.row_schemas() == {"Face": face, "Row": described}


def test_a_generated_client_scores_files(tmp_path, scorer, clip, monkeypatch):
    """With the shipped networks, and a client that openapi-python-client makes from the document."""
    content = clip("single_face.mp4").read_bytes()
    settings = "post_hooks: []\ncontent_type_overrides:\n  application/zip: application/octet-stream\n"
    (tmp_path / "config.yaml").write_text(settings)
    with serving(tmp_path / "files", scorer, token="s3cret") as server:
        (tmp_path / "openapi.json").write_bytes(server.ask("GET", "/openapi.json").body)
        subprocess.run(
            [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none",
             "--output-path", "generated_client", "--config", "config.yaml", "--fail-on-warning"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        monkeypatch.syspath_prepend(tmp_path)
        client_module = importlib.import_module("generated_client")
        api = {name: importlib.import_module(f"generated_client.api.default.{name}") for name in ("score", "add_batch", "show_batch")}  # fmt: skip # noqa: E501
        file = importlib.import_module("generated_client.types").File
        body = importlib.import_module("generated_client.models").AddBatchBody
        url = f"http://127.0.0.1:{server.port}"
        with client_module.AuthenticatedClient(url, "s3cret", timeout=60) as client:
            row = api["score"].sync(client=client, body=file(content), name="clip.mp4")
            assert (row.to_dict()["filename"], row.to_dict()["status"]) == ("clip.mp4", "ok")
            files = [file(b"text", "a.txt"), file(b"text", "b.txt")]
            batch = api["add_batch"].sync(client=client, body=body(file=files))
            wait_for(lambda: api["show_batch"].sync(batch.id, client=client).state == "done", 60)
            jobs = api["show_batch"].sync(batch.id, client=client).files
            assert [(job.name, job.status) for job in jobs] == [("a.txt", "unsupported"), ("b.txt", "unsupported")]
        with client_module.Client(url, timeout=60) as stranger:
            refused = api["score"].sync(client=stranger, body=file(content))
            assert "Authorization" in refused.error


# /healthz


def test_health_needs_no_token_and_reveals_nothing_else(tmp_path):
    with serving(tmp_path, token="s3cret") as served:
        job_ids = [served.add(b"wait", "secret.mp4") for _ in range(3)]
        served.wait(job_ids[0], "running")
        served.headers.clear()
        answer = served.ask("GET", "/healthz")
        assert (answer.status, answer.json) == (200, {"version": VERSION, "alive": True, "waiting": 2})
        assert served.ask("GET", "/healthz/").status == 401
        assert served.ask("GET", "/healthz", Host="evil.example").status == 421
        assert served.ask("GET", "/healthz", Origin="http://evil.example").status == 403


def test_a_server_that_cannot_score_is_not_healthy(served, monkeypatch):
    def answered():
        answer = served.ask("GET", "/healthz")
        assert answer.json["alive"] == (answer.status == 200)
        return answer.status

    assert answered() == 200
    served.scorer.can_score = False
    assert answered() == 503
    served.scorer.can_score = True
    job_id = served.add(b"wait")
    served.wait(job_id, "running")
    assert answered() == 200
    monkeypatch.setattr(jobs_module, "STUCK", -served.jobs.limits.seconds)
    assert answered() == 503  # its time is over, and it still runs
    served.scorer.go.set()
    served.wait(job_id)
    assert answered() == 200
    served.jobs.is_stopped = True
    assert answered() == 503
    served.jobs.is_stopped = False
    served.jobs._worker.get_loop().call_soon_threadsafe(served.jobs._worker.cancel)
    wait_for(lambda: answered() == 503)


def test_a_scorer_whose_networks_do_not_load_cannot_score(weights, monkeypatch):
    with Scorer() as scorer:
        assert scorer.can_score  # they may still be loading
        scorer._loading.result()
        assert scorer.can_score

    def broken(*_):
        raise BadInputError("the weights are broken")

    monkeypatch.setattr("inference.scorer.load_networks", broken)
    with Scorer() as scorer:
        wait_for(lambda: not scorer.can_score)


# --allow-host


def test_a_proxy_has_a_name_of_its_own(tmp_path):
    with serving(tmp_path, token="s3cret", proxies=[PROXY, "other.example:8443"]) as served:
        https = {"Host": PROXY, "Origin": f"https://{PROXY}", "Sec-Fetch-Site": "same-origin"}
        assert served.ask("POST", "/jobs", b"video", **https).status == 202
        assert served.ask("GET", "/jobs", Host=PROXY.upper()).status == 200
        assert served.ask("GET", "/jobs", Host="other.example:8443").status == 200
        for host in (
            f"{PROXY}:443",
            f"{PROXY}:{served.port}",
            f"www.{PROXY}",
            "other.example",
            "example.org",
            f"{PROXY}.",
        ):
            assert served.ask("GET", "/jobs", Host=host).status == 421
        local = f"127.0.0.1:{served.port}"
        for host, origin in ((PROXY, f"http://{PROXY}"), (PROXY, f"http://{local}"), (PROXY, "https://other.example:8443"),
                             (local, f"https://{PROXY}"), (local, f"https://{local}"), (PROXY, "null")):  # fmt: skip
            assert served.ask("POST", "/jobs", b"video", Host=host, Origin=origin).status == 403
        assert served.ask("POST", "/jobs", b"video", Host=local, Origin=f"http://{local}").status == 202
        page = served.ask("GET", "/docs", Host=PROXY).body.decode()
        assert f"https://{PROXY}/score" in page and local not in page
        refused = served.ask("POST", "/score", b"", Host=PROXY, **{"Content-Type": "application/json"})
        assert f"'https://{PROXY}/score?name=FILE'" in refused.json["error"]


def test_the_cookie_that_comes_by_https_goes_only_there(tmp_path):
    with serving(tmp_path, token="s3cret", proxies=[PROXY]) as served:
        cookie = served.ask("GET", "/?token=s3cret", Host=PROXY).headers["Set-Cookie"]
        assert "Secure" in cookie.split("; ")
        assert "Secure" not in served.ask("GET", "/?token=s3cret").headers["Set-Cookie"].split("; ")


@pytest.mark.parametrize(
    "name", [f"https://{PROXY}", "*", "*.example.org", "", "a b", "a/b", "a:b", "a-", "a\n", "\u00e9.org"]
)
def test_what_is_not_the_name_of_a_host_is_refused(name, monkeypatch, capsys):
    from forensics.serve.__main__ import parse_arguments

    monkeypatch.setattr("sys.argv", ["serve", "--token", "x", "--allow-host", name])
    with pytest.raises(SystemExit):
        parse_arguments()
    assert "is not a host's name" in capsys.readouterr().err


def test_a_proxy_needs_a_token(run):
    done = run("-m", "forensics.serve", "--allow-host", PROXY, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"--allow-host {PROXY} lets other machines in: give a --token" in done.stderr


# The token


def options(token=None, file=None):
    return argparse.Namespace(token=token, token_file=file)


def test_the_token_has_one_source(tmp_path):
    path = tmp_path / "token"
    path.write_text("of-the-file\n")
    environment = {"ROBUSTFORENSICS_TOKEN": "of-the-environment"}
    assert token_of(options(), {}) is None
    assert token_of(options("given"), {}) == "given"
    assert token_of(options(file=path), {}) == "of-the-file"
    assert token_of(options(), environment) == "of-the-environment"
    for several in ((options("given", path), {}), (options("given"), environment), (options(file=path), environment)):
        with pytest.raises(BadInputError, match="the token is given more than once: --token"):
            token_of(*several)


@pytest.mark.parametrize("text", ["", "\n", "a b", "a\nb", "\u00e9", "a;b", "\x00"])
def test_a_token_that_fits_into_no_header_is_refused(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    for given in ((options(text), {}), (options(file=path), {}), (options(), {"ROBUSTFORENSICS_TOKEN": text})):
        with pytest.raises(BadInputError, match="a token needs at least one character"):
            token_of(*given)
    with pytest.raises(FileNotFoundError):
        token_of(options(file=tmp_path / "missing"), {})


# --keep


def test_results_are_there_again_after_a_restart(tmp_path):
    name = "%3Cb%3E%22%F0%9F%A6%B6.mp4"
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        job_ids = [
            served.add(b"video", name),
            served.add(b"text", "b.txt"),
            served.add(b"defect"),
            served.add(b"video"),
        ]
        served.wait(job_ids[3])
        served.ask("DELETE", f"/jobs/{job_ids[3]}")
        paths = [f"/jobs/{job_id}{part}" for job_id in job_ids[:2] for part in ("", "/page", "/result.json")]
        before = [
            served.ask("GET", path).json if path.count("/") == 2 else served.ask("GET", path).body for path in paths
        ]
        served.add(b"wait", "lost.mp4")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "keep" / "notes.txt").write_text("not ours")
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        after = [
            served.ask("GET", path).json if path.count("/") == 2 else served.ask("GET", path).body for path in paths
        ]
        progress = {"stage": "", "done": 0, "of": None}
        assert after == [{**known, **progress} if isinstance(known, dict) else known for known in before]
        assert after[0]["name"] == '<b>"\U0001f9b6.mp4'
        assert [(job["name"], job["state"]) for job in served.ask("GET", "/jobs").json][1:] == [
            ("b.txt", "done"),
            ("clip.mp4", "failed"),
            ("lost.mp4", "lost"),
        ]
        assert served.ask("GET", f"/jobs/{job_ids[3]}").status == 404
        served.ask("DELETE", f"/jobs/{job_ids[0]}")
        served.wait(served.add(b"video", "later.mp4"))
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        assert [job["name"] for job in served.ask("GET", "/jobs").json] == [
            *("b.txt", "clip.mp4", "lost.mp4", "later.mp4"),
        ]
    assert (tmp_path / "keep" / "notes.txt").read_text() == "not ours"


def test_the_page_says_how_long_results_stay(tmp_path):
    with serving(tmp_path / "a", keep=tmp_path) as served:
        assert "until you delete them.</p>" in served.ask("GET", "/").body.decode()
    with serving(tmp_path / "b") as served:
        assert "until you delete them or the server ends.</p>" in served.ask("GET", "/").body.decode()


def test_only_the_newest_results_are_kept(tmp_path, monkeypatch):
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        for number in range(4):
            served.ask("POST", f"/score?name={number}.mp4", b"video")
    monkeypatch.setattr(jobs_module, "HISTORY", 2)
    with serving(tmp_path / "a", keep=tmp_path / "keep") as served:
        assert [job["name"] for job in served.ask("GET", "/jobs").json] == ["2.mp4", "3.mp4"]
        assert len(list((tmp_path / "keep").iterdir())) == 4


def test_what_a_killed_server_left_half_done_is_no_result(tmp_path, monkeypatch):
    keep = tmp_path / "keep"
    with serving(tmp_path / "a", keep=keep) as served:
        job_id = served.add(b"video")
        served.wait(job_id)
        monkeypatch.setattr("inference.results.Result.to_row", lambda _: 1 / 0)  # after the page, before the row
        assert served.ask("POST", "/score", b"video").status == 500
        monkeypatch.undo()
    half = "0" * 32
    shutil.copyfile(keep / f"{job_id}.zip", keep / f"{half}.zip")
    (keep / f".{half}.17.abcdef01.tmp.json").write_text('{"filename"')
    with serving(tmp_path / "a", keep=keep) as served:
        scored, failed = served.ask("GET", "/jobs").json
        assert (scored["id"], failed["state"], failed["reason"]) == (
            job_id,
            "failed",
            "ZeroDivisionError: division by zero",
        )
        assert served.ask("GET", f"/jobs/{half}").status == 404
        kept = {f"{job_id}.json", f"{job_id}.zip", f"{failed['id']}.job"}
        assert {path.name for path in keep.iterdir()} == kept


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("json", text) for text in ("{}", "[]", "{")),
        *(("batch", text) for text in ("[1]", "")),
        ("job", '{"name": "a"}'),
    ],
)
def test_a_kept_file_that_is_broken_is_named(tmp_path, name, content):
    (tmp_path / "keep").mkdir()
    path = tmp_path / "keep" / f"{'0' * 32}.{name}"
    path.write_text(content)
    with pytest.raises(BadInputError, match=re.escape(str(path))), serving(tmp_path / "a", keep=tmp_path / "keep"):
        pass
    assert path.read_text() == content


def test_a_killed_server_keeps_its_results_and_no_second_server_has_them(tmp_path, weights, clip, start):
    """With the command of the systemd unit."""
    (tmp_path / "temporary").mkdir()
    keep = tmp_path / "new" / "keep"
    (tmp_path / "token").write_text("s3cret\n")
    words = unit_words({"CREDENTIALS_DIRECTORY": tmp_path, "STATE_DIRECTORY": keep})
    with command(tmp_path / "temporary", *words) as (process, server):
        assert server.ask("GET", "/jobs").status == 401
        server.headers["Authorization"] = "Bearer s3cret"
        assert keep.stat().st_mode & 0o777 == 0o700
        job_id = server.add(clip("single_face.mp4").read_bytes())
        server.wait(job_id)
        paths = [f"/jobs/{job_id}/page", f"/jobs/{job_id}/result.json"]
        before = [server.ask("GET", path).body for path in paths]
        assert b"s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        done = start("-m", "forensics.serve", "--port", "0", "--keep", keep, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"--keep {keep} is used by another server already, by host" in done.stderr
        assert server.ask("GET", "/healthz", Host=PROXY).json == {"version": VERSION, "alive": True, "waiting": 0}
        os.killpg(process.pid, signal.SIGKILL)
    with command(tmp_path / "temporary", *words) as (process, server):
        server.headers["Authorization"] = "Bearer s3cret"
        assert [server.ask("GET", path).body for path in paths] == before
        process.terminate()
        assert process.wait(30) == 143
    assert {path.suffix for path in keep.iterdir()} == {".zip", ".json"}


# Evidence to hand over


def test_the_evidence_of_a_case_is_saved_as_one_file_and_verified(tmp_path, weights, clip, run):
    shutil.copyfile(clip("multi_face.jpg"), tmp_path / "photo.jpg")
    with command(tmp_path) as (_, server):
        fields = urllib.parse.urlencode({"name": "photo.jpg", "number": "2026-117", "notes": "One.\nTwo & three."})
        answer = server.ask("POST", f"/jobs?{fields}", (tmp_path / "photo.jpg").read_bytes())
        server.wait(answer.json["id"])
        bundle = server.ask("GET", f"/jobs/{answer.json['id']}/evidence.zip")
        assert bundle.headers["Content-Disposition"] == "attachment; filename*=UTF-8''photo.jpg.zip"
        (tmp_path / "photo.jpg.zip").write_bytes(bundle.body)
        page = server.ask("GET", f"/jobs/{answer.json['id']}/page").body
        too_long = server.ask("POST", "/jobs?number=" + "1" * 20_001, b"")
        assert (too_long.status, "number of a case must be text" in too_long.json["error"]) == (400, True)
    with zipfile.ZipFile(tmp_path / "photo.jpg.zip") as files:
        content = json.loads(files.read("photo.jpg.json"))
        assert files.read("photo.jpg.html") == page
    assert (content["case"]["number"], content["case"]["notes"]) == ("2026-117", "One.\nTwo & three.")
    assert (content["input"]["path"], content["filename"]) == ("photo.jpg", "photo.jpg")
    assert b"One.\nTwo &amp; three." in page and str(tmp_path).encode() not in page
    done = run("-m", "inference.verify", tmp_path / "photo.jpg.zip", tmp_path / "photo.jpg")
    assert "photo.jpg: identical" in done.stdout


# Batches


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
