"""The single file of `make app`: in an empty folder, without a network, with a home that nobody can write to."""

import json
import shutil
import subprocess

import pytest

from common.version import NAME, VERSION
from tests.conftest import ROOT

# Root may write anywhere but to a read-only mount.
SEALED = """
mount --bind home home && mount -o remount,ro,bind home && cd empty &&
exec env -i PATH="$PATH" HOME="$OLDPWD/home" TMPDIR="$OLDPWD/tmp" ./robustforensics.pex "$@"
"""


@pytest.fixture(scope="module")
def sealed(film, tmp_path_factory):
    """A function that runs a command of the file where it has nothing but a video."""
    root = tmp_path_factory.mktemp("app")
    for name in ("home", "tmp", "empty"):
        (root / name).mkdir()
    unshare = ["unshare", "--net", "--mount", "--map-root-user"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of its own for a process here")
    subprocess.run(["sh", "deploy/app.sh"], cwd=ROOT, check=True, capture_output=True)
    shutil.copy(ROOT / "dist/robustforensics.pex", root / "empty")
    shutil.copy(film, root / "empty/film.mp4")

    def run(*words):
        command = [*unshare, "sh", "-c", SEALED, "sh", *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=600)

    run.root = root
    return run


@pytest.mark.slow
def test_one_file_scores_verifies_and_bundles(sealed, scorer, film):
    done = sealed("score", "film.mp4", "--evidence", "evidence")
    assert done.returncode == 0, done.stderr
    row = json.loads((sealed.root / "empty/submission.jsonl").read_text())
    assert row["label"] == pytest.approx(scorer.score(film).label, abs=1e-6)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert row["software"] == f"{VERSION}, commit {head.strip()}"
    assert "film.mp4: identical" in sealed("verify", "evidence", "film.mp4").stdout
    assert sealed("bundle", "evidence", "film.mp4").returncode == 0
    assert "film.mp4: identical" in sealed("verify", "film.mp4.zip", "film.mp4").stdout
    assert not list((sealed.root / "home").iterdir()) and not list((sealed.root / "tmp").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("command", ["merge", "compare", "queue", "serve"])
def test_the_other_commands_start(sealed, command):
    done = sealed(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: robustforensics.pex {command} ")


@pytest.mark.slow
def test_unknown_commands_are_named(sealed):
    done = sealed("scor")
    assert done.returncode == 2 and "invalid choice: 'scor' (choose from" in done.stderr
    assert sealed("--version").stdout.startswith(f"{NAME} {VERSION}, commit ")
