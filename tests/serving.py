"""A server for tests: in a thread, with a real or a fake scorer, or the real command in its own process."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from markupsafe import escape

from common.errors import BadInputError
from common.status import Status
from forensics.serve.api import Api
from forensics.serve.app import make_app
from forensics.serve.guard import Address
from forensics.serve.jobs import Jobs
from forensics.serve.server import Server, bound_socket
from forensics.serve.uploads import Limits
from inference.conclude import failed
from inference.results import Result
from inference.scorer import Progress
from tests.conftest import ROOT, wait_for


class FakeResult(Result):
    """A result whose texts need no evidence."""

    def texts(self):
        return {".html": f"<!doctype html><p>{escape(self.path)}</p>", ".json": "{}", ".verify.json": "{}"}


class FakeScorer:
    """Obeys a file's content: `wait` waits for `go`, `defect` raises, `text` is not a video, all else scores 0.25."""

    can_score = True

    def __init__(self):
        self.go = threading.Event()
        self.paths = []

    def score(self, path, name=None, watch=None):
        content = path.read_bytes()
        self.paths.append(path)
        while content.startswith(b"wait") and not self.go.wait(0.02):
            watch(Progress("faces", 3, 10))
        watch(Progress("networks", 1, 2))
        if content == b"defect":
            raise RuntimeError("a defect")
        known = failed(name, BadInputError(f"{path}: not a video"), ["b0"])
        values = {field.name: getattr(known, field.name) for field in fields(known)}
        result = FakeResult(**values | {"status": Status.UNSUPPORTED, "path": path})
        if content == b"text":
            return result
        scored = {"label": 0.25, "verdict": "suspicious", "reason": "the mean", "false_positive_rate": 0.125}
        return replace(result, status=Status.OK, **scored)


class Answer:
    """The status, the headers and the body of an answer."""

    def __init__(self, answer):
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()

    @property
    def json(self):
        return json.loads(self.body)


@cache
def document():
    """The OpenAPI document."""
    jobs = Jobs(FakeScorer(), Path(), Limits())
    return Api(jobs, Address("127.0.0.1", 8000), has_token=True).document()


def operation(method, path):
    """What the OpenAPI document says of a request, if it has it."""
    for template, operations in document()["paths"].items():
        if re.fullmatch(re.sub("{.*?}", "[^/]+", template), path.partition("?")[0]):
            return operations.get(method.lower())
    return None


def check_documented(described, answer):
    """Fail unless the OpenAPI document has an answer such as this one to the request."""
    assert str(answer.status) in described["responses"], (described["operationId"], answer.status, answer.body)
    content = described["responses"][str(answer.status)].get("content", {})
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    assert [kind] == list(content) or (kind, content) == ("", {})
    if kind == "application/json":
        schema = content[kind]["schema"] | {"components": document()["components"]}
        Draft202012Validator(schema).validate(answer.json)


@dataclass
class Client:
    """Sends requests to a server on this machine; `headers` go with each of them. Checks answers by the document."""

    port: int
    headers: dict

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {**self.headers, **headers})
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        if described := operation(method, path):
            check_documented(described, answer)
        return answer

    def add(self, content, name="clip.mp4"):
        answer = self.ask("POST", f"/jobs?name={name}", content)
        assert answer.status == 202, answer.body
        return answer.json["id"]

    def job(self, job_id):
        return self.ask("GET", f"/jobs/{job_id}").json

    def wait(self, job_id, *states):
        wait_for(lambda: self.job(job_id)["state"] in (states or ("done",)))
        return self.job(job_id)

    @contextmanager
    def begin(self, path, size=1000, sent=b"wait"):
        """The socket of a request that has sent only part of its body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as half:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {size}\r\n\r\n"
            half.sendall(head.encode() + sent)
            yield half

    @contextmanager
    def events(self):
        """The server-sent events as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/events", headers=self.headers)
        answer = connection.getresponse()
        lines = iter(answer.readline, b"")
        try:
            yield (json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: "))
        finally:
            connection.close()


@dataclass
class Served(Client):
    """A server in a thread."""

    scorer: FakeScorer
    folder: Path
    jobs: Jobs

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())


def form(files, boundary="XX", end=True):
    """The body of a form, and its headers."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: video/mp4\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    body = b"".join(parts) + (f"--{boundary}--\r\n".encode() if end else b"")
    return {"body": body, "Content-Type": f"multipart/form-data; boundary={boundary}"}


@contextmanager
def answering(listening, app, on_end=lambda: None):
    """A server of an application in a thread of this process."""
    server = Server(app, "", on_end=on_end)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def serving(folder, scorer=None, token=None, keep=None, proxies=(), **limits):
    """Our server in a thread of this process."""
    scorer = scorer or FakeScorer()
    if keep:
        keep.mkdir(exist_ok=True)
    with bound_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        jobs = Jobs(scorer, folder, Limits(**limits), keep)
        with answering(listening, make_app(jobs, Address("127.0.0.1", port, proxies), token), jobs.stop):
            yield Served(port, {"Authorization": f"Bearer {token}"} if token else {}, scorer, folder, jobs)


@contextmanager
def command(folder, *words, root=ROOT):
    """The real command, with `folder` for its temporary files: its process, and a client once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "forensics.serve", "--port", "0", *words],
        cwd=root, env=os.environ | {"TMPDIR": str(folder)}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        message = process.stdout.readline()
        address = re.match(r"serve: open http://[0-9.]+:(\d+)/", message)
        assert address, message + process.stderr.read()
        yield process, Client(int(address[1]), {})
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
