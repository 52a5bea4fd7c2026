"""A long run: six hundred videos, a tenth of them damaged, undisturbed and killed at random twenty times."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.status import Status
from faces.video import read_frames
from tests.conftest import ROOT, wait_for
from tests.strange import audio_only, corrupt_packet, encode

pytestmark = pytest.mark.slow
VIDEOS, KILLS = 600, 20
GROWTH = 30e6  # bytes that a process may grow by in the second half of the undisturbed run
CODECS = (
    ("mp4", "libx264", "yuv420p", ({"crf": "18"}, {"crf": "35", "bf": "0"})),
    ("mkv", "libx264", "yuv444p", ({"crf": "23"},)),
    ("mkv", "libx265", "yuv420p", ({"x265-params": "log-level=none"},)),
    ("webm", "libvpx-vp9", "yuv420p", ({"cpu-used": "8", "deadline": "realtime"},)),
    ("avi", "mpeg4", "yuv420p", ({"b": "800k"},)),
    ("mov", "mjpeg", "yuvj420p", ({},)),
    ("mkv", "ffv1", "yuv420p", ({},)),
    ("ts", "mpeg2video", "yuv420p", ({"b": "2M"},)),
)


def sound_forms(folder, frames):
    """Five frames each, recoded to many forms: codecs and containers, sizes, turned, dark."""
    for size in ((640, 360), (426, 240), (322, 182)):
        for at, (suffix, codec, pixels, settings) in enumerate(CODECS):
            for number, options in enumerate(settings):
                for view in range(4):
                    first = 12 * view + at
                    change = (lambda image: image, cv2.flip, np.rot90, lambda image: (image * 0.6).astype(np.uint8))[
                        view
                    ]
                    pictures = [cv2.resize(image, size) for image in frames[first : first + 5]]
                    pictures = [change(image, 1) if view == 1 else change(image) for image in pictures]
                    if codec == "libvpx-vp9" or all(side % 2 == 0 for side in size):
                        name = f"{codec}-{number}-{size[0]}-{view}.{suffix}"
                        yield encode(folder / name, pictures, codec, pixels, dict(options))


def damaged_forms(folder, sound):
    """What is left of videos: cut off, zeroed, flipped bits, overwritten packets, nothing, sound alone, text."""
    noise = np.random.RandomState(0)
    for number, path in enumerate(sound[::9]):
        data = path.read_bytes()
        target = folder / f"damaged-{number}{path.suffix}"
        kind = number % 4
        if kind == 0:
            target.write_bytes(data[: len(data) // 2])
        elif kind == 1:
            target.write_bytes(data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * len(data) // 3 :])
        elif kind == 2:
            flipped = bytearray(data)
            for place in noise.randint(200, len(data), 20):
                flipped[place] ^= 1 << int(noise.randint(8))
            target.write_bytes(flipped)
        else:
            target.write_bytes(data)
            corrupt_packet(target, 2)
        yield target
    (folder / "damaged-empty.mp4").touch()
    yield folder / "damaged-empty.mp4"
    audio_only(folder / "damaged-sound.mp4")
    yield folder / "damaged-sound.mp4"
    (folder / "damaged-text.mp4").write_text("no video\n" * 50)
    yield folder / "damaged-text.mp4"


@pytest.fixture(scope="module")
def folder(clip, tmp_path_factory):
    """The videos: each tenth has a damaged form, the others share the sound forms. Many names, few contents."""
    root = tmp_path_factory.mktemp("soak")
    frames = list(islice(read_frames(clip("single_face.mp4")), 60))
    (root / "forms").mkdir()
    sound = list(sound_forms(root / "forms", frames))
    damaged = list(damaged_forms(root / "forms", sound))
    (root / "videos").mkdir()
    for number in range(VIDEOS):
        forms = damaged if number % 10 == 0 else sound
        form = forms[number // 10 % len(forms)] if number % 10 == 0 else forms[number % len(forms)]
        (root / f"videos/v{number:04}{form.suffix}").hardlink_to(form)
    return root / "videos"


class Soak:
    """A run of `inference.predict` over the videos, with a folder of its own for temporary files."""

    def __init__(self, videos, root):
        self.output, self.temporary = root / "out/submission.csv", root / "tmp"
        self.temporary.mkdir(parents=True)
        self.log = root / "log"
        words = ["-m", "inference.predict", str(videos), "--members", "lite0", "--output", str(self.output)]
        self.command = [sys.executable, *words]

    def start(self):
        """Begin, or go on."""
        environment = os.environ | {"TMPDIR": str(self.temporary)}
        with self.log.open("a") as log:
            return subprocess.Popen(
                self.command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def done(self):
        """How many videos the ledger remembers."""
        ledger = self.output.with_suffix(".partial.jsonl")
        return max(ledger.read_bytes().count(b"\n") - 1, 0) if ledger.is_file() else 0

    def wait_until(self, done, process):
        """Wait until so many videos are done, or the process ends."""
        wait_for(lambda: self.done() >= done or process.poll() is not None, 120)

    def processes(self):
        """The numbers of the processes of all starts so far."""
        wanted, found = f"TMPDIR={self.temporary}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if wanted in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                continue  # it ended meanwhile
        return found

    def rows(self):
        """The rows but for how long they took, in the order of the file."""
        lines = [json.loads(line) for line in self.output.with_suffix(".jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def memory(process):
    """Bytes of a process that no other one shares."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    """A whole run, and the memory of its main process after a half and at the end."""
    soak = Soak(folder, tmp_path_factory.mktemp("undisturbed"))
    process, at_half, at_end = soak.start(), [], []
    while process.poll() is None:
        time.sleep(0.5)
        done = soak.done()
        if done > 0.9 * VIDEOS or 0.4 * VIDEOS < done < 0.5 * VIDEOS:
            try:
                (at_end if done > VIDEOS / 2 else at_half).append(memory(process.pid))
            except OSError:
                break
    assert process.wait() == 1, "some videos cannot be read"
    soak.grown = float(np.median(at_end) - np.median(at_half))
    return soak


def test_a_long_run_has_a_row_for_every_video_and_does_not_grow(undisturbed, folder):
    with undisturbed.output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["filename"] for row in rows] == sorted(path.name for path in folder.iterdir())
    statuses = Counter(row["status"] for row in undisturbed.rows())
    print(statuses, f"grown by {undisturbed.grown / 1e6:.1f} MB")
    assert statuses[Status.OK] > 0.8 * VIDEOS
    assert {Status.DECODE_ERROR, Status.UNSUPPORTED} <= set(statuses)
    assert Status.CRASHED not in statuses
    assert undisturbed.grown < GROWTH
    assert list(undisturbed.temporary.iterdir()) == []


def test_twenty_kills_change_no_byte_and_leave_nothing(undisturbed, folder, tmp_path):
    soak, dice = Soak(folder, tmp_path), random.Random(0)
    kills = Counter()
    while sum(kills.values()) < KILLS:
        before = soak.done()
        left = VIDEOS - before
        process = soak.start()
        if dice.random() < 0.2:  # while it begins, or before its first row
            time.sleep(dice.uniform(0, 2))
        else:
            more = dice.uniform(0, 2) * left / (KILLS + 1 - sum(kills.values()))
            soak.wait_until(before + more, process)
            time.sleep(dice.uniform(0, 0.2))
        assert process.poll() is None, soak.log.read_text()[-2000:]
        kind = dice.choice(("main", "all", "asked"))
        kills[kind] += 1
        if kind == "all":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL if kind == "main" else signal.SIGTERM)
        process.wait(30)
    print(kills)
    assert soak.start().wait() == 1
    assert soak.output.read_bytes() == undisturbed.output.read_bytes()
    assert soak.rows() == undisturbed.rows()
    names = ["submission.csv", "submission.jsonl", "submission.verdicts.csv"]
    assert sorted(path.name for path in soak.output.parent.iterdir()) == names
    wait_for(lambda: not soak.processes())
    assert list(soak.temporary.iterdir()) == []
