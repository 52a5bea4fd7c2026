"""The product used from elsewhere: another folder, a daemonic process, a script from standard input, no home."""

import os
import subprocess
import sys

import pytest

import common.cache
from inference import Scorer
from tests.conftest import ROOT

SCRIPT = """
from inference import Scorer
if __name__ == "__main__":
    with Scorer(members="lite0", {settings}) as scorer:
        print(scorer.score({film!r}).verdict)
"""


@pytest.fixture(scope="module")
def expected(film, weights):
    with Scorer(members="lite0", evidence=False) as scorer:
        return scorer.score(film).verdict


def start(text, folder, *words):
    """Run a script, in another folder than the project's."""
    command = [sys.executable, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=text, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("settings", ["evidence=True", "evidence=False, workers=0"])
def test_a_script_from_standard_input_in_another_folder(film, expected, tmp_path, settings):
    assert start(SCRIPT.format(settings=settings, film=str(film)), tmp_path, "-") == expected
    assert list(tmp_path.iterdir()) == []


def test_a_daemonic_process_scores_by_itself(film, expected, tmp_path):
    script = tmp_path / "daemonic.py"
    script.write_text(
        "import multiprocessing\n"
        "def job(path):\n"
        "    from inference import Scorer\n"
        '    with Scorer(members="lite0", evidence=False) as scorer:\n'
        '        return [scorer.score(path).verdict, str(scorer.score("absent.mp4").status)]\n'
        'if __name__ == "__main__":\n'
        '    with multiprocessing.get_context("spawn").Pool(1) as pool:\n'
        f"        print(pool.map(job, [{str(film)!r}])[0])\n"
    )
    assert start("", tmp_path, script) == str([expected, "missing"])


def test_a_user_without_a_home_has_a_temporary_cache(monkeypatch, capsys):
    def nobody(name):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(common.cache, "user_cache_path", nobody)
    monkeypatch.delenv(common.cache.VARIABLE, raising=False)
    path = common.cache.cached("a")
    assert path.parent.is_dir()
    assert "this user has no home folder" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's folder")
def test_a_home_that_may_not_be_entered_has_a_temporary_cache(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    code = (
        f"import os; os.environ['HOME'] = {str(home)!r}; os.environ.pop('XDG_CACHE_HOME', None);"
        "os.setuid(12345); from common.cache import cached; print(cached('a').parent.is_dir())"
    )
    environment = {name: value for name, value in os.environ.items() if name != common.cache.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    if "Permission denied: '/work" in done.stderr or "No module named" in done.stderr:
        pytest.skip("the project itself may not be read by another user")
    assert done.stdout.strip() == "True", done.stderr
