"""Many videos through `inference.predict`: strange ones, two runs, patterns, missing members; and
the networks' batches.
"""

import csv
import json
import os
import tracemalloc
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.scale import Repeated
from common.errors import BadInputError
from demo.tree import write_video
from faces.crops import Square, cut, plan_crops
from faces.tracking import track_faces
from faces.video import read_frames
from inference.members import MEMBERS, CropKind
from inference.networks.torch_networks import load_member, networks_of
from inference.results import read_results, read_rows, utf8_name
from inference.run import Output, score_videos
from inference.sampling.look import Wanted, sample
from inference.sampling.sampled import Face
from inference.scorer import Video
from inference.scoring import NOT_FINITE, Score, image_frames
from inference.settings import Settings
from tests.test_strange_videos import make
from tests.tiny import write_checkpoints


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("models"), ["b0", "res34", "sf3"])


def rows_of(output):
    return {row["filename"]: row for row in map(json.loads, output.with_suffix(".jsonl").read_text().splitlines())}


def test_every_strange_video_has_a_row_and_a_status(run, frames, tmp_path):
    folder = tmp_path / "strange"
    folder.mkdir()
    make(folder, frames)
    names = [*sorted(path.name for path in folder.iterdir()), "nowhere.mp4"]
    with (tmp_path / "list.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([["filename"], *([name] for name in names if "\udcff" not in name)])
    odd = [folder / name for name in names if "\udcff" in name]  # a CSV is UTF-8
    done = run(
        "-m", "inference.predict", *odd, "--list", tmp_path / "list.csv", "--videos", folder, "--members", "lite0",
        "--output", tmp_path / "s.csv", check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    rows = rows_of(tmp_path / "s.csv")
    assert sorted(rows) == sorted(names)
    assert len(rows) >= 30
    expected = {
        "decode_error": ["zero bytes.mp4", "cut0.mp4", "cut4.mp4", "cut.mkv", "folder.mp4"],
        "unsupported": ["text.mp4", "audio.mp4", "size changes.mkv", "unknown codec.mp4"],
        "missing": ["broken link.mp4", "nowhere.mp4"],
        "too_few_frames": ["one frame.mp4"],
        "ok": [
            "seven.mp4",
            "ten bit.mp4",
            "turned.mp4",
            "odd size.mp4",
            "as MP4.MP4",
            "as webm.webm",
            "corrupt packet.avi",
        ],
    }
    assert {
        status: [name for name in some if rows[name]["status"] == status] for status, some in expected.items()
    } == expected
    for row in rows.values():
        assert (row["label"] == 0.5) == (row["status"] != "ok")
        assert row["reason"]
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        assert [line[0] for line in csv.reader(file)][1:] == [utf8_name(name) for name in rows]
    assert "no UTF-8 %FF.mkv" in (tmp_path / "s.csv").read_text(encoding="utf-8")
    assert "1 names are not UTF-8" in done.stderr
    assert utf8_name(os.fsdecode(b"50 % \xe4.mp4")) == "50 %25 %E4.mp4"
    assert utf8_name("50 %.mp4") == "50 %.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip):
    """Three videos: a face, two faces, one frame only."""
    folder = tmp_path_factory.mktemp("three")
    frames = list(islice(read_frames(clip("single_face.mp4")), 12))
    write_video(folder / "one.mp4", frames, 25.0)
    write_video(folder / "two.mp4", [np.hstack([frame, cv2.flip(frame, 1)]) for frame in frames], 25.0)
    write_video(folder / "short.mp4", frames[:3], 25.0)
    return folder


@pytest.mark.slow
def test_two_runs_give_the_same_bytes_whatever_the_workers(run, models, folder, tmp_path):
    for name, workers in (("first", 1), ("second", 3)):
        run(
            "-m", "inference.predict", folder / "*.mp4", "--models", models, "--members", "b0,sf3", "--device", "cpu",
            "--workers", workers, "--output", tmp_path / f"{name}.csv",
        )  # fmt: skip
    first = (tmp_path / "first.csv").read_bytes()
    assert first == (tmp_path / "second.csv").read_bytes()
    assert [line.split(b",")[0] for line in first.splitlines()] == [b"filename", b"one.mp4", b"short.mp4", b"two.mp4"]
    rows = rows_of(tmp_path / "first.csv")
    assert [rows[name]["faces"] for name in ("one.mp4", "short.mp4", "two.mp4")] == [1, 1, 2]
    # Under five frames image members have no score, video members do.
    assert rows["short.mp4"]["members"]["b0"] is None
    assert rows["short.mp4"]["label"] == rows["short.mp4"]["members"]["sf3"] == rows["short.mp4"]["video"]
    assert rows["short.mp4"]["image"] is None
    assert rows["one.mp4"]["label"] == pytest.approx(0.4 * rows["one.mp4"]["video"] + 0.6 * rows["one.mp4"]["image"])


def test_missing_members_are_left_out_only_where_allowed_and_said_on_every_row(run, models, folder, tmp_path):
    videos, output = (folder / "one.mp4", tmp_path / "none.mp4"), tmp_path / "s.csv"
    words = ["-m", "inference.predict", *videos, "--models", models, "--output", output]
    refused = run(*words, check=False)
    assert refused.returncode == 2
    assert "8 of 11 members have no checkpoint" in refused.stderr
    done = run(*words, "--allow-missing", "--device", "cpu", check=False)
    assert done.returncode == 1
    for row in rows_of(output).values():
        assert row["left_out"] == ["sf1", "sf2", "sf4", "xcp", "b3", "b1", "b1long", "b1short"]
        assert "without sf1, sf2, sf4, xcp" in row["reason"]
    row = rows_of(output)["one.mp4"]
    weights = {name: MEMBERS[name].weight for name in ("b0", "res34")}
    scores = [row["members"][name] for name in weights]
    agreed = [(score, weight) for score, weight in zip(scores, weights.values(), strict=True) if score > 0.8]
    if len(agreed) < 2:  # the policy takes both
        expected = sum(score * weight for score, weight in zip(scores, weights.values(), strict=True)) / sum(
            weights.values()
        )
        assert row["image"] == pytest.approx(expected)
    assert row["label"] == pytest.approx(0.4 * row["members"]["sf3"] + 0.6 * row["image"])
    assert run(*words, "--allow-missing", "--members", "b1,xcp", check=False).returncode == 2


@pytest.mark.slow
def test_frames_and_tables(run, models, folder, tmp_path):
    member = ("--models", models, "--members", "b0")
    words = ("-m", "inference.predict", folder / "one.mp4", *member, "--output", tmp_path / "s.csv")
    done = run(*words, "--max-frames", "6", "--precision", "bf16", "--device", "cpu")
    assert rows_of(tmp_path / "s.csv")["one.mp4"]["frames"] == 6
    stages = [line.split("  ")[0] for line in done.stdout.splitlines() if line.endswith("s per video")]
    assert stages == ["decode", "detect", "track and crop", "b0"]
    assert "1 ok" in done.stdout
    nothing = run("-m", "inference.predict", tmp_path / "*.mp4", "--models", models, "--members", "b0", check=False)
    assert (nothing.returncode, "no video matches" in nothing.stderr) == (2, True)


@pytest.fixture(scope="module")
def sampled(folder, weights):
    kinds = {CropKind("image", 299), CropKind("image", 256), CropKind("video", 256), CropKind("image", 224, 0.65)}
    return [
        sample(folder / name, Wanted(Settings(), kinds, weights))[0] for name in ("one.mp4", "two.mp4", "short.mp4")
    ]


class Broken(nn.Module):
    """A network one of whose logits is not finite for one image."""

    def forward(self, images):
        logits = images.mean(dim=(2, 3))[:, :2]
        logits[0, 1] = float("nan")
        return logits


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_over_many_videos_holds_no_results_in_memory(run, clip, tmp_path, monkeypatch, resumed):
    """They stay in the files, so a list of a hundred thousand videos needs only a small machine's memory."""
    run("-m", "inference.predict", clip("single_face.mp4"), "--screen", "--output", tmp_path / "one.csv")
    (row,) = read_rows(tmp_path / "one.jsonl")
    monkeypatch.setattr(Repeated, "row", row, raising=False)
    monkeypatch.setattr("inference.run.Scorer", Repeated)
    videos = [Video(f"{number}.mp4", tmp_path / f"{number}.mp4") for number in range(500)]
    sizes = {}
    for count in (100, 500):
        output = Output(tmp_path / f"{count}.csv", keeps_ledger=True)
        if resumed:
            score_videos(videos[:count], Settings(), output)
        tracemalloc.start()
        try:
            score_videos(videos[:count], Settings(), output)
            _, scoring = tracemalloc.get_traced_memory()
            tracemalloc.clear_traces()
            results = read_results(tmp_path / f"{count}.jsonl")
            reading, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        sizes[count] = np.array([scoring, reading])
    scoring, reading = (sizes[500] - sizes[100]) / 400
    assert scoring < 2000, "bytes per video in a run; a result takes 5000"
    assert reading < 1000, "bytes per row, as when shards are merged"
    assert [result.filename for result in results.values()] == [video.name for video in videos]


def test_one_value_that_is_not_finite_is_no_score(sampled):
    """Of that video; a network with numbers at float32 only is asked again at float32."""
    member = MEMBERS["b0"]
    (scores,) = networks_of({"b0": (member, Broken())}, limits={"b0": 100}).scores([sampled[0].faces])
    assert scores["b0"] == Score(None, NOT_FINITE)
    plain, low = (networks_of({"b0": (member, Narrow())}, precision=name) for name in ("fp32", "bf16"))
    faces = [video.faces for video in sampled]
    assert low.scores(faces) == plain.scores(faces)
    assert None not in [score.value for video in low.scores(faces[:2]) for score in video.values()]


class Narrow(nn.Module):
    """A network whose logits overflow where they are not computed at float32."""

    def forward(self, images):
        logits = images.mean(dim=(2, 3))[:, :2]
        return logits * float("inf") if torch.is_autocast_enabled("cpu") else logits


class Colors(nn.Module):
    """A video network that knows only the mean color of a clip."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)

    def forward(self, clips):
        return self.last(clips.mean(dim=(2, 3, 4)))


class Hungry(nn.Module):
    """A network that finds no memory for more than so many images at a time."""

    def __init__(self, network, most):
        super().__init__()
        self.network, self.most = network, most

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.network(images)


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_drops_nothing(models, sampled, capsys):
    members = {name: (MEMBERS[name], load_member(MEMBERS[name], models)) for name in ("b0", "res34", "sf3")}
    faces = [video.faces for video in sampled]
    plain = networks_of(members).scores(faces)
    hungry = networks_of(
        {name: (member, Hungry(network, 4)) for name, (member, network) in members.items()}, limits={"b0": 16}
    )
    scores = hungry.scores(faces)
    assert (
        "predict: out of memory: b0 goes on with 2 at a time" in capsys.readouterr().err
    )  # with their mirror images four
    assert hungry.limits == {"b0": 2, "res34": 2, "sf3": 1}
    for alone, split in zip(plain, scores, strict=True):
        assert alone.keys() == split.keys() == members.keys()
        for name, score in alone.items():
            assert split[name].value == (None if score.value is None else pytest.approx(score.value, abs=1e-5))
    with pytest.raises(BadInputError, match="no memory for member b0, one of"):
        networks_of({"b0": (MEMBERS["b0"], Hungry(members["b0"][1], 0))}).scores(faces)


def test_videos_scored_together_score_as_alone(models, sampled):
    """As on a GPU: faces of several videos in one batch, clips of one length stacked."""
    members = {"b0": (MEMBERS["b0"], load_member(MEMBERS["b0"], models)), "sf3": (MEMBERS["sf3"], Colors())}
    together = networks_of(members, limits={"b0": 100, "sf3": 8}).scores([video.faces for video in sampled])
    for video, scores in zip(sampled, together, strict=True):
        (alone,) = networks_of(members, limits={"b0": 1, "sf3": 1}).scores([video.faces])
        for name, score in alone.items():
            assert scores[name].value == (None if score.value is None else pytest.approx(score.value, abs=1e-5))
            assert len(scores[name].parts) == len(video.faces)
    nothing: list[list[Face]] = [[], []]
    assert [scores["b0"].value for scores in networks_of(members).scores(nothing)] == [None, None]


def test_sampling_equals_the_stages_crops(folder, sampled, detector):
    """The crops are those of the contract's arithmetic on whole frames."""
    decoded = list(read_frames(folder / "two.mp4"))
    tracks = track_faces([detector.detect([frame])[0] for frame in decoded], max_faces=2).tracks
    _, crops = plan_crops(tracks, len(decoded), decoded[0].shape[1], decoded[0].shape[0])
    faces = sampled[1].faces
    assert len(faces) == 2
    for source, found in crops.items():
        for crop in found:
            expected = cv2.resize(cut(decoded[source], crop.square), (256, 256))[..., ::-1]
            assert np.array_equal(faces[crop.face].crops[CropKind("video", 256)][crop.frame], expected)
    at = image_frames(len(decoded))[3]
    (square,) = (crop.square for found in crops.values() for crop in found if (crop.face, crop.frame) == (0, at))
    side = round(0.65 * square.size)
    corner = (square.size - side) // 2
    inner = cut(decoded[at], Square(square.x + corner, square.y + corner, side))
    seen = faces[0].crops[CropKind("image", 224, 0.65)]
    assert np.array_equal(seen[3], cv2.resize(inner, (224, 224), interpolation=cv2.INTER_LINEAR)[..., ::-1])
    assert all(len(face.crops[CropKind("image", 299)]) == 10 for face in faces)
