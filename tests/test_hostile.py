"""A server that clients attack: it promises to answer others meanwhile, and to keep neither memory nor descriptors."""

import re
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from forensics.serve import server
from tests.conftest import wait_for
from tests.serving import answering, command, form

CLIENTS = 200


def connect(served):
    return socket.create_connection(("127.0.0.1", served.port), timeout=60)


def head(port, request="GET /healthz", **headers):
    """The head of a request, as bytes."""
    lines = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def has_ended(client):
    """Whether the server closes a connection, after whatever it still sends."""
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


def descriptors(process):
    """How many a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


@pytest.fixture
def impatient(monkeypatch):
    """The server waits a second."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 1)
    monkeypatch.setattr(server, "READ_SECONDS", 1)


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: 127.0"])
def test_clients_that_never_say_what_they_want_are_cut_off(impatient, served, begin):
    with ExitStack() as open_clients:
        clients = [open_clients.enter_context(connect(served)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(begin)
        assert served.ask("GET", "/healthz").status == 200
        assert all(has_ended(client) for client in clients)


def test_a_second_request_may_not_take_longer(impatient, served):
    with connect(served) as client:
        client.sendall(head(served.port))
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: b"}" in client.recv(1 << 16))
        client.sendall(b"GET")
        assert has_ended(client)


def test_a_slow_upload_may_take_longer(impatient, served):
    """What a body may take, `--max-seconds` and the limit of a stall say."""
    with served.begin("/jobs?name=clip.mp4", size=6) as half:
        before = threading.Event()
        before.wait(1.5)  # longer than a head may take
        half.sendall(b"ed")
        assert half.recv(1 << 16).startswith(b"HTTP/1.1 202")


def test_a_client_that_never_reads_is_cut_off(impatient, served):
    wanted = head(served.port, "GET /") * 2000  # pages of 10 kB
    files = descriptors("self")
    with connect(served) as client:
        client.settimeout(5)
        with pytest.raises(OSError):
            while True:
                client.sendall(wanted)
        wait_for(lambda: descriptors("self") <= files + 1)
    assert served.ask("GET", "/healthz").status == 200


def test_a_client_that_does_not_read_may_not_ask_for_more_instead(impatient):
    ended = threading.Event()

    async def without_end(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
            ended.set()

    with server.bound_socket("127.0.0.1", 0) as listening, answering(listening, without_end) as running:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head(port))
            wait_for(lambda: any(one.flow.write_paused for one in list(running.server_state.connections)))
            client.sendall(b"GET")
            assert ended.wait(20)


@pytest.mark.parametrize(
    "header", [b"X: " + b"x" * 200_000, b"\r\n".join(b"X-%d: x" % number for number in range(20_000))]
)
def test_a_huge_head_is_refused(served, header):
    with connect(served) as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header + b"\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return
        assert client.recv(1 << 16)[:12] == b"HTTP/1.1 400"


def test_an_upload_may_be_cut_anywhere(served):
    """After each byte of the request; nothing of it is kept."""
    headers = form([("a.mp4", b"clip")])
    body = headers.pop("body")
    request = head(served.port, "POST /batches", **headers, **{"Content-Length": len(body)}) + body
    for cut in range(1, len(request)):
        with connect(served) as client:
            client.sendall(request[:cut])
    wait_for(lambda: served.files() == [])
    assert served.ask("GET", "/jobs").json == []
    with connect(served) as client:
        client.sendall(request)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 202")


@pytest.fixture
def few(monkeypatch):
    """The server has twenty connections."""
    monkeypatch.setattr(server, "CONNECTIONS", 20)


def test_more_clients_than_connections_are_told_to_wait(few, served):
    with ExitStack() as open_clients:
        for _ in range(20):
            open_clients.enter_context(connect(served))
        with connect(served) as client:
            client.sendall(head(served.port))
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 503")
    wait_for(lambda: served.ask("GET", "/healthz").status == 200)


def use_of(process):
    """The resident memory of a process in MB, and its descriptors."""
    resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]
    return int(resident) / 1000, descriptors(process.pid)


@pytest.mark.slow
def test_ten_thousand_requests_and_two_hundred_clients_leave_it_as_it_was(tmp_path, weights):
    def ask(times):
        for _ in range(times):
            assert client.ask("GET", "/healthz").status == 200
            assert client.ask("POST", "/nowhere", b"x" * 1000).status == 404

    with command(tmp_path) as (process, client):
        ask(500)
        memory, files = use_of(process)
        threads = [threading.Thread(target=ask, args=(5000 // CLIENTS,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: use_of(process)[1] <= files)
        assert use_of(process)[0] < memory + 20
