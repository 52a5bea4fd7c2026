"""Files as tests/test_player.py reads them, through the whole command: rows, evidence, pages, scores."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.conftest import FILM_FRAMES as FRAMES
from tests.conftest import ROOT
from tests.strange import add_stream_before, encode, invisible, remux, set_matrix


@pytest.fixture(scope="module")
def scored(film, pictures, weights, tmp_path_factory):
    """`inference.predict` over a folder of these files, and its rows and evidence by name."""
    folder = tmp_path_factory.mktemp("player")
    videos = folder / "videos"
    videos.mkdir()
    shutil.copy(film, videos / "film.mp4")
    (videos / "text.mp4").write_bytes(film.read_bytes() + b"a line of text")
    set_matrix(encode(videos / "mirrored.mp4", [frame[:, ::-1] for frame in pictures]), -1, 0, 0, 1)
    add_stream_before(film, videos / "poster.mkv", [cv2.resize(pictures[0], (160, 90))], default=False)
    remux(film, videos / "trimmed.mp4", later=-14 / 30)
    webm = encode(folder / "all.webm", [*pictures, *pictures], codec="libvpx", options={"g": "100"})
    remux(webm, videos / "invisible.webm", change=invisible)
    encode(videos / "late.mp4", pictures, times=[25 + number for number in range(FRAMES)], sound_seconds=2)
    encode(videos / "hdr.mp4", pictures, options={"x264-params": "transfer=smpte2084:sar=16/11"})
    plain = [np.full_like(pictures[0], 90)] * 40
    encode(videos / "slides.mp4", [*plain, *pictures])
    shutil.copy(film, videos / "film.m2v")  # a suffix that promises something else
    (videos / "notes.txt").write_text("notes")
    done = predict(videos, folder, "--max-frames", "32")
    return folder, done, rows_of(folder)


def predict(videos, folder, *options):
    command = [sys.executable, "-m", "inference.predict", videos, "--output", folder / "s.csv"]
    command += ["--evidence", folder / "evidence", *options]
    return subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)


def rows_of(folder):
    rows = map(json.loads, (folder / "s.jsonl").read_text().splitlines())
    return {
        row["filename"]: (row, json.loads((folder / f"evidence/{row['filename']}.json").read_text())) for row in rows
    }


def test_the_command_succeeds_and_says_what_is_remarkable(scored):
    _, done, rows = scored
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("left out 1: notes.txt")
    assert "9 ok, 1 no_face" in done.stdout
    for name, said in (
        ("mirrored.mp4", "mirrored, as its metadata asks"),
        ("poster.mkv", "stream 1 of the file, one of 2 video streams"),
        ("hdr.mp4", "HDR (PQ), not tone-mapped; pixels 16:11, not stretched"),
        ("slides.mp4", "faces in 12 of 32 frames; 12 of 12 detections not scored"),
    ):
        assert f"predict: {name}: {said}" in done.stderr
        assert "; ".join(rows[name][0]["notes"]) == said
        assert said in (scored[0] / f"evidence/{name}.html").read_text()
    for name in ("film.mp4", "text.mp4", "trimmed.mp4"):
        assert name not in done.stderr


@pytest.mark.parametrize("name", ["text.mp4", "poster.mkv", "film.m2v", "mirrored.mp4"])
def test_the_score_is_that_of_the_untouched_film(scored, name):
    (row, _), (expected, _) = scored[2][name], scored[2]["film.mp4"]
    assert (row["status"], row["frames"], row["faces"]) == ("ok", FRAMES, 1)
    assert row["label"] == pytest.approx(expected["label"], abs=0.1 if name == "mirrored.mp4" else 1e-6)


def test_what_is_shown_is_what_is_sampled(scored):
    _, _, rows = scored
    row, facts = rows["trimmed.mp4"]
    assert (row["frames"], facts["video"]["frames"], facts["video"]["declared_frames"]) == (10, 10, FRAMES)
    assert facts["sampling"]["every"] == 1
    row, facts = rows["invisible.webm"]  # 48 packets of which 16 are shown: one in two, by the packets
    assert (row["frames"], facts["video"]["frames"], facts["sampling"]["every"]) == (16, 16, 1)
    _, facts = rows["late.mp4"]
    assert facts["video"]["starts"] == facts["sampling"]["times"][0] == pytest.approx(25 / 30, abs=0.002)
    assert "The picture starts 0.83 s after playback does." in facts["not_analysed"]


def test_faces_in_a_minority_of_the_frames(scored):
    row, facts = scored[2]["slides.mp4"]
    assert row["status"] == "no_face"
    assert row["reason"] == "20 of 32 sampled frames show no face; faces in 12 of 32 frames"
    assert (row["face_frames"], row["detections"], row["not_scored"]) == (12, 12, 12)
    assert facts["faces"]["in_frames"] == 12


def test_shots_find_the_face(scored, tmp_path):
    (videos := tmp_path / "videos").mkdir()
    for name in ("slides.mp4", "film.mp4"):
        shutil.copy(scored[0] / "videos" / name, videos / name)
    done = predict(videos, tmp_path, "--max-frames", "32", "--shots")
    assert "2 ok" in done.stdout
    row, facts = rows_of(tmp_path)["slides.mp4"]
    assert [(shot["first_frame"], shot["last_frame"], shot["status"]) for shot in row["shots"]] == [
        (0, 39, "no_face"),
        (40, 63, "ok"),
    ]
    assert row["label"] == row["shots"][1]["label"]
    assert row["reason"].startswith("shot 2, 1.33 to 2.10 s, the highest of 1 with a score: ")
    assert facts["shots"] == row["shots"]
    assert facts["sampling"]["times"][0] == pytest.approx(40 / 30, abs=1e-3)
    assert 'id="shots"' in (tmp_path / "evidence/slides.mp4.html").read_text()
    whole, _ = rows_of(tmp_path)["film.mp4"]
    assert whole["label"] == pytest.approx(scored[2]["film.mp4"][0]["label"], abs=1e-6)


def test_a_group_of_copies_is_hollow_and_stands_where_its_face_was_seen(film, pictures, weights, tmp_path):
    """A face in the first 14 of 24 frames: the last group sees its last detection five times."""
    (videos := tmp_path / "videos").mkdir()
    encode(videos / "x.mp4", [*pictures[:14], *[np.full_like(pictures[0], 90)] * 10])
    predict(videos, tmp_path)
    _, facts = rows_of(tmp_path)["x.mp4"]
    last_seen = facts["tracks"][0]["detections"][-1]["time"]
    groups = facts["members"]["lite0"]["faces"][0]["groups"]
    assert [group["copies"] for group in groups] == [0, 0, 1, 5]
    assert groups[-1]["times"] == [last_seen] * 5
    assert max(time for group in groups for time in group["times"]) == last_seen
    page = (tmp_path / "evidence/x.mp4.html").read_text()
    assert page.count('r="3.5" fill="#fff"') == 1


# The files of the bug reports themselves

CASES = {
    "t_text.mp4": ("ok", 72, 2.367),
    "t_freebox.mp4": ("ok", 72, 2.367),
    "a_pipe.avi": ("ok", 72, 2.367),
    "ms_poster_first.mkv": ("ok", 72, 2.367),
    "s_hflip.mp4": ("ok", 72, 2.367),
    "e_longtrim.mp4": ("ok", 28, 1.126),
    "a_sparse.avi": ("ok", 48, 78.412),
    "w_slides_fake.mp4": ("no_face", 81, 5.333),
    "c.webp": ("ok", 1, None),
}


@pytest.mark.slow
def test_cases(shared, clip, tmp_path):
    (videos := tmp_path / "videos").mkdir()
    shutil.copy(clip("single_face.mp4"), videos)
    for name in CASES:
        shutil.copy(shared(f"cases/{name}"), videos / name)
    command = [sys.executable, "-m", "inference.predict", *sorted(videos.iterdir()), "--output", tmp_path / "s.csv"]
    command += ["--evidence", tmp_path / "evidence"]
    subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, check=False)
    rows = rows_of(tmp_path)
    label = rows["single_face.mp4"][0]["label"]
    for name, (status, frames, last) in CASES.items():
        row, facts = rows[name]
        assert (row["status"], row["frames"]) == (status, frames), name
        if last:
            assert facts["sampling"]["times"][-1] == pytest.approx(last, abs=2e-3), name
        if name[0] in "tms":
            assert row["label"] == pytest.approx(label, abs=0.1 if name[0] == "s" else 1e-6), name
    assert "faces in 36 of 81 frames" in rows["w_slides_fake.mp4"][0]["reason"]
    assert rows["e_longtrim.mp4"][1]["video"]["duration"] == 1.187
