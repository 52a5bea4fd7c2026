"""`quality.robustness`: what the perturbations do, and what the table says about their scores."""

import csv
import json
import os
from itertools import islice

import cv2
import numpy as np
import pytest

from demo.tree import write_video
from faces.video import probe, read_frames
from quality.perturb import PERTURBATIONS, perturb


@pytest.fixture(scope="module")
def video(tmp_path_factory, clip):
    """Twenty frames, 30 a second, of an odd width."""
    path = tmp_path_factory.mktemp("video") / "face.mp4"
    write_video(path, [frame[:, :638] for frame in islice(read_frames(clip("single_face.mp4")), 20)], 30.0)
    return path


@pytest.fixture(scope="module")
def perturbed(video):
    """Each perturbation's file and frames."""
    versions = {}
    for kind in PERTURBATIONS:
        target = video.parent / "out" / f"{kind}.mp4"
        count = perturb(video, target, kind)
        versions[kind] = target, list(read_frames(target))
        assert len(versions[kind][1]) == count
    assert sorted(path.name for path in (video.parent / "out").iterdir()) == sorted(
        f"{kind}.mp4" for kind in PERTURBATIONS
    )
    return versions


def difference(frames, others):
    return np.mean([np.abs(frame.astype(float) - other).mean() for frame, other in zip(frames, others, strict=True)])


def test_perturbations_do_what_their_names_say(video, perturbed):
    original = list(read_frames(video))
    shapes = {kind: frames[0].shape[:2] for kind, (_, frames) in perturbed.items()}
    assert shapes["half size"] == (180, 318)  # 319 is odd
    assert shapes["cropped"] == (288, 512)
    assert all(shape == (360, 638) for kind, shape in shapes.items() if kind not in ("half size", "cropped"))
    assert probe(perturbed["15 fps"][0]).fps == 15
    assert len(perturbed["15 fps"][1]) == 10
    assert difference(perturbed["15 fps"][1], original[::2]) < 4
    slower = video.parent / "24 fps.mp4"
    write_video(slower, original, 24.0)
    assert perturb(slower, video.parent / "24 to 15.mp4", "15 fps") == 12  # five of eight frames are kept
    assert probe(video.parent / "24 to 15.mp4").fps == 15
    assert all(len(frames) == 20 for kind, (_, frames) in perturbed.items() if kind != "15 fps")
    sizes = [perturbed[f"crf {crf}"][0].stat().st_size for crf in (28, 35, 40)]
    assert sizes == sorted(sizes, reverse=True)
    losses = [difference(perturbed[f"crf {crf}"][1], original) for crf in (28, 35, 40)]
    assert losses == sorted(losses)
    assert difference([cv2.flip(frame, 1) for frame in perturbed["mirrored"][1]], original) < 4
    means = {kind: np.mean(perturbed[kind][1]) for kind in ("gamma .6", "mirrored", "gamma 1.6")}
    assert means["gamma .6"] > means["mirrored"] + 10 > means["gamma 1.6"] + 20
    rough = {
        kind: np.mean([cv2.Laplacian(frame, cv2.CV_64F).var() for frame in perturbed[kind][1]]) for kind in perturbed
    }
    assert rough["blur"] < 0.5 * rough["mirrored"] < 0.25 * rough["noise"]
    assert np.mean([frame[5, 300] for frame in perturbed["screenshot"][1]]) < 60  # the dark frame around it
    filmed = np.mean(perturbed["filmed"][1], axis=(0, 3)) - np.mean(original, axis=(0, 3))[:360, :638]
    assert np.mean(np.mean(perturbed["filmed"][1], axis=(0, 3))[180, :5]) < 40, "keystone: the screen's edge is visible"
    assert filmed[50:90, 450:510].mean() > filmed[250:300, 100:200].mean() + 30, "glare in the upper right"
    spectrum = np.abs(np.fft.rfft(filmed[180:340, 50:560] - filmed[180:340, 50:560].mean(), axis=1)).mean(axis=0)
    moire = round(510 / 7.3)
    assert spectrum[moire - 2 : moire + 3].max() > 3 * np.median(spectrum[moire + 10 : moire + 60]), "moire"


def test_the_noise_is_the_same_again(video, perturbed, tmp_path):
    perturb(video, tmp_path / "again.mp4", "noise")
    assert (tmp_path / "again.mp4").read_bytes() == perturbed["noise"][0].read_bytes()


def times_of_files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/*.mp4")}


@pytest.mark.parametrize("kinds", [("15 fps", "blur"), pytest.param(tuple(PERTURBATIONS), marks=pytest.mark.slow)])
def test_the_table_holds_shifts_aucs_and_statuses(run, video, clip, weights, tmp_path, monkeypatch, kinds):
    monkeypatch.setattr("quality.robustness.PERTURBATIONS", {kind: PERTURBATIONS[kind] for kind in kinds})
    videos = tmp_path / "videos"
    videos.mkdir()
    frames = list(read_frames(video))
    write_video(videos / "real.mp4", frames[:10], 30.0)
    write_video(videos / "fake.mp4", [cv2.flip(frame, 0)[::-1, ::-1] for frame in frames[:10]], 30.0)
    write_video(videos / "few.mp4", frames[:8], 30.0)  # four of them at 15 fps
    (videos / "broken.mp4").write_bytes(b"not a video")
    truth = {
        "real.mp4": {"label": "REAL"},
        "fake.mp4": {"label": "FAKE"},
        "few.mp4": {"label": "FAKE"},
        "broken.mp4": {"label": "REAL"},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(truth))
    words = [
        "-m",
        "quality.robustness",
        videos,
        "--labels",
        tmp_path / "metadata.json",
        "--members",
        "lite2",
    ]
    done = run(*words, "--output", tmp_path / "out", "--device", "cpu", check=False)
    assert done.returncode == 1, done.stderr
    assert f"4 videos, 1 of them without a score, {len(kinds)} perturbations" in done.stdout
    with (tmp_path / "out/robustness.csv").open(newline="") as file:
        table = {row["perturbation"]: row for row in csv.DictReader(file)}
    assert list(table) == ["original", *kinds]
    with (tmp_path / "out/submission.csv").open(newline="") as file:
        scores = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    assert table["original"]["scored"] == "3"
    assert table["original"]["statuses"] == "1 unsupported"
    assert table["15 fps"]["statuses"] == "1 too_few_frames"
    for kind, row in table.items():
        shifts = {name: scores[f"{kind}/{name}"] - scores[f"original/{name}"] for name in ("real.mp4", "fake.mp4")}
        assert float(row["shift_REAL"]) == pytest.approx(shifts["real.mp4"], abs=1e-4)
        assert float(row["real_called"]) == (scores[f"{kind}/real.mp4"] > 0.5)
        fakes = ["fake.mp4"] if kind == "15 fps" else ["fake.mp4", "few.mp4"]
        called = [scores[f"{kind}/{name}"] > 0.5 for name in fakes]
        assert float(row["fake_found"]) == pytest.approx(np.mean(called))
        if kind == "15 fps":
            assert float(row["shift_FAKE"]) == pytest.approx(shifts["fake.mp4"], abs=1e-4)
            assert float(row["auc"]) == (1.0 if scores[f"{kind}/fake.mp4"] > scores[f"{kind}/real.mp4"] else 0.0)
    assert abs(float(table["blur"]["largest_shift"])) > 1e-3, (
        "the scores move too little for the comparison to mean anything"
    )
    assert cv2.imread(str(tmp_path / "out/robustness.png")) is not None
    os.utime(videos / "few.mp4", (1, 1))  # another file now, although an older one
    times = times_of_files(tmp_path / "out")
    again = [f"{videos}/[fr]e[wa]*.mp4" if word == videos else word for word in words]  # few.mp4, real.mp4
    run(*again, "--output", tmp_path / "out", "--device", "cpu", check=False)
    changed = {path.name for path, time in times_of_files(tmp_path / "out").items() if time != times[path]}
    assert changed == {"few.mp4.mp4"}
