"""`deploy/`: the systemd unit is valid and hardened, and the container has all files that scoring takes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.serving import command

UNIT = ROOT / "deploy/robustforensics.service"
CONTAINER = ROOT / "deploy/Containerfile"


def unit_words(variables):
    """The words after `python -m forensics.serve` in the unit, but for the port, with its variables filled in."""
    (line,) = re.findall(r"^ExecStart=\S+ -m forensics.serve --port 8000 (.*)$", UNIT.read_text(), re.MULTILINE)
    return re.sub(r"\${(\w+)}", lambda name: str(variables[name[1]]), line).split()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_valid_and_hardened(tmp_path):
    text = UNIT.read_text()
    installed = "/opt/robustforensics/.venv-score/bin/python"
    assert text.count(installed) == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(installed, str(Path(sys.executable).resolve())))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    words = ["systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", unit]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def words_of(instruction):
    """The words of an instruction of the Containerfile that is a list."""
    (text,) = re.findall(rf"^{instruction} (\[.*\])$", CONTAINER.read_text(), re.MULTILINE)
    return json.loads(text)


@pytest.mark.slow
def test_the_container_has_what_scoring_takes(tmp_path, weights, clip):
    """Its files, its command and its check, without the container."""
    folder = tmp_path / "app"
    folder.mkdir()
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", CONTAINER.read_text(), re.MULTILINE):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target)
        else:
            shutil.copy(ROOT / source, folder / target)
    (tmp_path / "token").write_text("s3cret")
    python, *entry = words_of("ENTRYPOINT")
    assert (python, entry[:2]) == ("python", ["-m", "forensics.serve"])
    there = {"/run/secrets/token": str(tmp_path / "token"), "/results": str(tmp_path / "results")}
    with command(tmp_path, *(there.get(word, word) for word in entry[2:]), root=folder) as (_, server):
        server.headers["Authorization"] = "Bearer s3cret"
        answer = server.ask("PUT", "/score?name=clip.mp4", clip("single_face.mp4").read_bytes()).json
        assert (answer["status"], answer["label"] < 0.1) == ("ok", True)
        check = [word.replace(":8000/", f":{server.port}/") for word in words_of("HEALTHCHECK CMD")]
        assert subprocess.run([sys.executable, *check[1:]], check=False).returncode == 0
    assert subprocess.run([sys.executable, *check[1:]], check=False, capture_output=True).returncode == 1
