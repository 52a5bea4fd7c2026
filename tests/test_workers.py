"""The worker pool of the stages: a process that dies or hangs costs its own job only."""

import json
import os
import subprocess
import sys

from tests.conftest import ROOT


def run_program(folder, text):
    """Run a program of our own from a file, as worker processes need it."""
    script = folder / "program.py"
    script.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def test_a_worker_that_dies_costs_its_video_only(tmp_path):
    """A stage of our own whose work function is killed on one of three videos."""
    done = run_program(
        tmp_path,
        "import os, signal, sys\nfrom pathlib import Path\nfrom common.stage import run_stage\n"
        "def work(name):\n"
        "    if name == 'bad':\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 1\n"
        "if __name__ == '__main__':\n"
        "    jobs = {f'p/{n}': (n,) for n in ('a', 'bad', 'c')}\n"
        f"    sys.exit(run_stage('killed', work, jobs, Path({str(tmp_path)!r}), done='', workers=1))\n",
    )
    assert done.returncode == 1
    assert "killed: 2 done, 0 skipped, 1 failed; 2 frames" in done.stdout
    assert list(json.loads((tmp_path / "failed.json").read_text())) == ["p/bad"]


def test_a_worker_that_hangs_is_stopped(tmp_path):
    done = run_program(
        tmp_path,
        "import time\nfrom common.workers import Workers\nfrom common.status import Status\n"
        "from faces.notes import failure\n"
        "def work(seconds):\n    time.sleep(seconds)\n    return 'done'\n"
        "if __name__ == '__main__':\n"
        "    with Workers(2) as pool:\n"
        "        for name, outcome in pool.run(work, {'stuck': (600,), 'quick': (0,)}, {'stuck': 2}):\n"
        "            said = failure(outcome, Status.CRASHED).status if isinstance(outcome, Exception) else outcome\n"
        "            print(name, said)\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "quick done\nstuck crashed\n"


def test_idle_workers_that_are_killed_are_replaced(tmp_path):
    done = run_program(
        tmp_path,
        "import os, signal, time\nfrom common.workers import Workers\n"
        "def work(number):\n    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    with Workers(1) as pool:\n"
        "        ((_, victim),) = pool.run(work, {'first': (0,)})\n"
        "        os.kill(victim, signal.SIGKILL)\n"
        "        time.sleep(1)\n"
        "        names = [name for name, outcome in pool.run(work, {'b': (1,), 'c': (2,)}) if outcome != victim]\n"
        "        print(sorted(names))\n",
    )
    assert done.stdout == "['b', 'c']\n", done.stderr


def test_a_process_ends_after_a_hundred_jobs(tmp_path):
    """Memory that a decoder leaks with every video does not add up.

    This matters to a server, which runs for months.
    """
    done = run_program(
        tmp_path,
        "import os\nfrom collections import Counter\nfrom common.workers import Workers\n"
        "def work(number):\n    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    jobs = {str(number): (number,) for number in range(210)}\n    with Workers(1) as pool:\n"
        "        print(sorted(Counter(pid for _, pid in pool.run(work, jobs)).values()))\n",
    )
    assert done.stdout == "[10, 100, 100]\n", done.stderr


def test_no_worker_waits_for_networks_that_take_four_videos_at_a_time(tmp_path):
    """While the networks are at work, each worker can begin its next video, so as many more are done as they take."""
    done = run_program(
        tmp_path,
        "import time\nfrom concurrent.futures import Future\nfrom pathlib import Path\n"
        "from common.workers import Workers\nfrom inference.scorer import Found, Video, score, under_way\n"
        f"FOLDER = Path({str(tmp_path)!r})\n"
        "def work(number):\n    (FOLDER / f'{number}.done').touch()\n    return []\n"
        "if __name__ == '__main__':\n"
        "    networks = Future()\n    networks.set_result(None)\n"
        "    with Workers(2) as pool:\n"
        "        jobs = {str(n): (n,) for n in range(40)}\n"
        "        outcomes = pool.run(work, jobs, ahead=under_way(pool, 4))\n"
        "        found = (Found(Video(name, FOLDER), outcome) for name, outcome in outcomes)\n"
        "        scored = score(found, networks, 4)\n"
        "        next(scored)\n"  # four are taken; nobody asks for another one now
        "        end = time.monotonic() + 20\n"
        "        while len(list(FOLDER.glob('*.done'))) < 9 and time.monotonic() < end:\n"
        "            time.sleep(0.05)\n"
        "        print(len(list(FOLDER.glob('*.done'))))\n",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4 + 2 + 3, "two are at work, and three or more wait"
