"""`forensics.serve` as a service: its OpenAPI document, /healthz, a proxy, where its token comes from, --keep."""

import argparse
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import zipfile
from pathlib import Path

import openapi_spec_validator
import pytest

from common.errors import BadInputError
from common.version import VERSION
from forensics.serve import jobs as jobs_module
from forensics.serve import openapi
from forensics.serve.__main__ import token_of
from forensics.serve.app import make_app
from forensics.serve.guard import Address
from inference.scorer import Scorer
from tests.conftest import wait_for
from tests.serving import command, document, serving
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
