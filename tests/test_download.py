"""`python -m pretrain.download` with a local server that cuts connections, serves wrong files, or has none."""

import hashlib
import http.server
import threading

import pytest
import torch

import pretrain.download
from pretrain.download import FILES, Weights
from tests.test_checkpoints import ARCHS, LAST, pretrained_content
from tests.test_networks import build
from training.checkpoint import load_pretrained


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP; `server.cuts` downloads end halfway."""
    folder = tmp_path / "served"
    folder.mkdir()
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = folder / self.path.lstrip("/")
            requests.append(self.path)
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if httpd.cuts:
                httpd.cuts -= 1
                content = content[: len(content) // 2]
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.cuts, httpd.folder, httpd.requests = 0, folder, requests
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd
    httpd.shutdown()


@pytest.fixture
def small(server, monkeypatch):
    """A file of 400 kB as the only one that can be fetched; its name holds its sha256, as in published files."""
    path = server.folder / "weights.pth"
    torch.save({"fc.weight": torch.randn(1000, 100)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    name = f"small-{digest}.pth"
    path.rename(server.folder / name)
    monkeypatch.setattr(pretrain.download, "FILES", {"small": Weights(name, digest, None)})
    return server.folder / name


@pytest.fixture
def download(server, tmp_path, monkeypatch, capsys):
    """Run the command in this process; return its status and output."""

    def run(*arguments, source=server.url):
        words = [*arguments, "--from", source, "--to", tmp_path / "pretrain"]
        monkeypatch.setattr("sys.argv", ["pretrain.download", *map(str, words)])
        status = pretrain.download.main()
        return status, "".join(capsys.readouterr())

    run.folder = tmp_path / "pretrain"
    return run


def test_a_file_arrives_once(small, download, server):
    status, output = download()
    assert (status, "1 done, 0 failed" in output, "fetched" in output) == (0, True, True)
    assert (download.folder / small.name).read_bytes() == small.read_bytes()
    assert "present" in download()[1]
    assert len(server.requests) == 1
    assert [path.name for path in download.folder.iterdir()] == [small.name]


def test_a_cut_connection_is_tried_again(small, download, server):
    server.cuts = 2
    assert download()[0] == 0
    assert (download.folder / small.name).read_bytes() == small.read_bytes()
    assert len(server.requests) == 3


def test_a_connection_that_is_always_cut_leaves_nothing(small, download, server):
    server.cuts = 100
    status, output = download()
    assert (status, "does not begin with" in output) == (1, True)
    assert not list(download.folder.iterdir())


@pytest.mark.parametrize("network", ["b0", "b1", "b3", "r34", "xcp"])
def test_files_in_published_formats_arrive_and_load(server, download, published, monkeypatch, network):
    """A file with a published file's names, shapes and nesting starts our network, even if the connection is cut."""
    weights, content = pretrained_content(network, published[network]["shapes"])
    torch.save(content, server.folder / "file.pth")
    digest = hashlib.sha256((server.folder / "file.pth").read_bytes()).hexdigest()[:8]
    (server.folder / "file.pth").rename(server.folder / f"{network}-{digest}.pth")
    monkeypatch.setattr(pretrain.download, "FILES", {network: Weights(f"{network}-{digest}.pth", digest, None)})
    server.cuts = 1
    assert download(network)[0] == 0
    model = build(ARCHS[network])
    load_pretrained(model, download.folder / f"{network}-{digest}.pth", LAST[network])
    name = next(
        name for name in weights if name.endswith("pointwise.weight") or "layer4" in name or "_conv_head" in name
    )
    prefix = "model." if network == "xcp" else ""
    assert torch.equal(model.state_dict()[prefix + name], weights[name])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"other bytes", "does not begin with"),
        (b"<!DOCTYPE html><title>Sign in</title>", "got a web page instead of weights"),
        (None, "404"),
    ],
)
def test_wrong_content_is_not_kept(small, download, content, complaint):
    small.unlink() if content is None else small.write_bytes(content)
    status, output = download()
    assert status == 1
    assert complaint in output
    assert "0 done, 1 failed" in output
    assert not download.folder.exists() or not list(download.folder.iterdir())


def test_a_damaged_existing_file_is_named(small, download):
    download.folder.mkdir()
    (download.folder / small.name).write_bytes(b"half")
    status, output = download()
    assert (status, "does not begin with" in output) == (1, True)


def test_a_server_that_does_not_answer(small, download):
    status, output = download(source="http://127.0.0.1:9")
    assert status == 1
    assert "refused" in output.lower()


def test_a_folder_is_a_source_too(small, download):
    assert "copied" in download(source=small.parent)[1]
    assert (download.folder / small.name).read_bytes() == small.read_bytes()


def test_published_names_contain_their_hash_and_each_wrong_file_is_named(run, tmp_path, server):
    for weights in FILES.values():
        assert weights.sha256 in weights.file
        (server.folder / weights.file).write_bytes(b"not the published bytes")
    done = run(
        "-m", "pretrain.download", "resnet34", "xception", "--from", server.url, "--to", tmp_path / "p", check=False
    )  # fmt: skip
    assert done.returncode == 1
    assert "resnet34-333f7ec4.pth: its sha256" in done.stderr
    assert "xception-b5690688.pth: its sha256" in done.stderr
    assert "0 done, 2 failed" in done.stdout
    unknown = run("-m", "pretrain.download", "resnet", check=False)
    assert (unknown.returncode, "known are efficientnet-b0" in unknown.stderr) == (2, True)


def test_slowfast_is_fetched_by_hand_and_then_checked(run, tmp_path):
    folder = tmp_path / "p"
    done = run("-m", "pretrain.download", "slowfast50", "--to", folder, check=False)
    assert done.returncode == 1
    assert "has to be fetched by hand" in done.stderr
    assert str(folder / "sf50_k400.pth") in done.stderr
    assert not folder.exists()
    folder.mkdir()

    (folder / "sf50_k400.pth").write_bytes(b"<html>please sign in</html>")
    assert "got a web page" in run("-m", "pretrain.download", "slowfast50", "--to", folder, check=False).stderr
    state = build("slowfast50", num_classes=2).state_dict()
    torch.save({"state_dict": state}, folder / "sf50_k400.pth")
    wrong = run("-m", "pretrain.download", "slowfast50", "--to", folder, check=False)
    assert "fc.weight is (2, 2304), not (400, 2304)" in wrong.stderr
    state |= {"fc.weight": torch.zeros(400, 2304), "fc.bias": torch.zeros(400)}
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "sf50_k400.pth")
    assert "sf50_k400.pth: present" in run("-m", "pretrain.download", "slowfast50", "--to", folder).stdout
