"""`python -m inference.predict` on real clips, with a b0 of random weights in the published format."""

import csv
import json
import shutil
import signal
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from demo.tree import write_video
from faces.crops import cut, plan_crops
from faces.tracking import track_faces
from faces.video import read_frames
from image_based.models import build_model
from inference.ledger import Ledger
from inference.members import MEMBERS, MODELS, SHIPPED
from inference.results import printable
from inference.scoring import image_frames, image_score
from tests.conftest import interrupt, launch, still_video


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    network = build_model("efficientnet-b0")
    for name, value in network.state_dict().items():
        if name == "_fc.weight":
            value *= 1000  # so that scores differ visibly
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    content = {"step": 58000, "arch": "efficientnet-b0", "state_dict": state, "best_loss": 0.1, "optimizer": {}}
    torch.save(content, folder / MEMBERS["b0"].file)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory, clip, frames):
    folder = tmp_path_factory.mktemp("test_videos")
    write_video(folder / "äußerst.mp4", frames, 30.0)
    write_video(folder / "four.mp4", frames[:4], 30.0)
    write_video(folder / "sky.MP4", list(islice(read_frames(clip("no_face.mp4")), 8)), 24.0)
    still_video(folder / "tall.mp4", frames[0], 6, width=1080, height=2400)
    (folder / "cut.mp4").write_bytes((folder / "äußerst.mp4").read_bytes()[:20000])
    (folder / "empty.mp4").touch()
    (folder / "text.txt").write_text("no video")
    return folder


def rows_of(output):
    return {row["filename"]: row for row in map(json.loads, output.with_suffix(".jsonl").read_text().splitlines())}


def test_a_list_in_its_order_with_every_status(run, videos, models, weights, tmp_path):
    names = ["sky.MP4", "äußerst.mp4", "absent.mp4", "cut.mp4", "text.txt", "empty.mp4", "four.mp4", "tall.mp4"]
    (tmp_path / "list.csv").write_text("filename,label\n" + "".join(f"{name},0.5\n" for name in names))
    output = tmp_path / "out/submission.csv"
    done = run(
        "-m", "inference.predict", "--list", tmp_path / "list.csv", "--videos", videos, "--models", models,
        "--members", "b0", "--output", output, "--device", "cpu", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    with output.open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["filename", "label"]
    assert [name for name, _ in table[1:]] == names
    rows = rows_of(output)
    statuses = ["no_face", "ok", "missing", "decode_error", "unsupported", "decode_error", "too_few_frames", "ok"]
    assert [rows[name]["status"] for name in names] == statuses
    for (name, label), status in zip(table[1:], statuses, strict=True):
        assert float(label) == pytest.approx(rows[name]["label"], abs=1e-8)
        assert (rows[name]["label"] == 0.5) == (status != "ok")
        assert rows[name].keys() == {
            "schema", "filename", "label", "status", "reason", "frames", "faces", "members", "image", "video",
            "seconds", "run", "software", "left_out", "face_frames", "detections", "not_scored", "notes", "shots",
            "not_finite", "each_face", "policy",
            "false_positive_rate", "verdict", "conditions", "judgement", "by_known", "sha256", "forms", "stability",
        }  # fmt: skip
    assert (rows["äußerst.mp4"]["frames"], rows["äußerst.mp4"]["faces"]) == (12, 1)
    assert rows["äußerst.mp4"]["image"] == rows["äußerst.mp4"]["members"]["b0"] == rows["äußerst.mp4"]["label"]
    assert rows["äußerst.mp4"]["video"] is None
    assert "cut off" in rows["cut.mp4"]["reason"]
    assert "cut.mp4: decode_error" in done.stderr
    assert "predict: 1 no_face, 2 ok, 1 missing, 2 decode_error, 1 unsupported, 1 too_few_frames" in done.stdout


def test_the_score_is_the_contracts_arithmetic(run, videos, models, detector, tmp_path):
    """The same video by hand: every frame, square crops, 299 px, ImageNet's mean, both mirror
    images, groups of five.
    """
    member = ("--models", models, "--members", "b0")
    run("-m", "inference.predict", videos / "äußerst.mp4", *member, "--output", tmp_path / "s.csv")
    score = rows_of(tmp_path / "s.csv")["äußerst.mp4"]["label"]
    assert abs(score - 0.5) > 0.01, "weights too tame for the comparison to mean anything"

    decoded = list(read_frames(videos / "äußerst.mp4"))
    tracks = track_faces([detector.detect([frame])[0] for frame in decoded], max_faces=2).tracks
    _, crops = plan_crops(tracks, len(decoded), 640, 360)
    squares = {crop.frame: cut(decoded[source], crop.square) for source in crops for crop in crops[source]}
    network = build_model("efficientnet-b0").eval()
    state = torch.load(models / MEMBERS["b0"].file, weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    logits = []
    for at in image_frames(len(decoded)):
        image = cv2.resize(squares[at], (299, 299))[..., ::-1] / 255
        image = (image - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.inference_mode():
            logits.append((network(tensor) + network(tensor.flip(-1)))[0].numpy() / 2)
    assert len(logits) == 10
    assert score == pytest.approx(image_score([np.stack(logits)], squeezed=False).value, abs=1e-4)


def test_folders_and_files_mix_and_come_in_order(run, videos, models, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    for name in ("b.mp4", "a.mp4"):
        shutil.copy(videos / "sky.MP4", folder / name)
    run(
        "-m", "inference.predict", videos / "sky.MP4", folder, "--models", models, "--members", "b0",
        "--output", tmp_path / "s.csv",
    )  # fmt: skip
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines == ["filename,label", "sky.MP4,0.50000000", "a.mp4,0.50000000", "b.mp4,0.50000000"]


@pytest.mark.parametrize(
    ("arguments", "complaints"),
    [
        (
            ["x.mp4", "--members", "b0,b1"],
            ["1 of 2 members have no checkpoint", "b1_rgb_58000.pth.tar", "b1/config.yaml"],
        ),
        (
            ["x.mp4"],
            ["10 of 11 members have no checkpoint", "sf_bc_jc_44000.pth.tar", "video_based/configs/config.yaml"],
        ),
        (["x.mp4", "--members", "b0,b9"], ["unknown members b9; known are sf1, sf2"]),
        (["x.mp4", "y/x.mp4", "--members", "b0"], ["more than one video is called x.mp4"]),
        (["--members", "b0"], ["no video to score"]),
    ],
)
def test_what_cannot_start_says_why(run, models, tmp_path, arguments, complaints):
    done = run("-m", "inference.predict", *arguments, "--models", models, "--output", tmp_path / "s.csv", check=False)
    assert done.returncode == 2
    assert all(complaint in done.stderr for complaint in complaints)
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("content", "complaint"), [("filename\n../x.mp4\n", "unsafe name"), ("name\nx.mp4\n", "no column 'filename'")]
)
def test_bad_lists_are_refused(run, models, tmp_path, content, complaint):
    (tmp_path / "l.csv").write_text(content)
    done = run(
        "-m", "inference.predict", "--list", tmp_path / "l.csv", "--models", models, "--members", "b0", check=False
    )
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_member_that_gives_nan_costs_a_video_this_member_only(run, videos, models, tmp_path):
    """Alone it leaves the video without a score; a video without a face needs no network."""
    (broken := tmp_path / "models").mkdir()
    content = torch.load(models / MEMBERS["b0"].file, weights_only=True)
    content["state_dict"]["module._fc.bias"] += float("nan")
    torch.save(content, broken / MEMBERS["b0"].file)
    shutil.copy(MODELS / SHIPPED["lite0"].file, broken)
    arguments = (videos / "sky.MP4", videos / "äußerst.mp4", "--models", broken, "--workers", "1")
    done = run("-m", "inference.predict", *arguments, "--members", "b0", "--output", tmp_path / "s.csv", check=False)
    assert done.returncode == 1
    assert "äußerst.mp4: not_finite: b0: its network gave no finite number" in done.stderr
    row = rows_of(tmp_path / "s.csv")["äußerst.mp4"]
    assert (row["status"], row["label"], row["members"]) == ("not_finite", 0.5, {"b0": None})
    assert rows_of(tmp_path / "s.csv")["sky.MP4"]["status"] == "no_face"
    words = ("--members", "b0,lite0", "--output", tmp_path / "t.csv", "--evidence", tmp_path / "evidence")
    done = run("-m", "inference.predict", *arguments, *words)
    row = rows_of(tmp_path / "t.csv")["äußerst.mp4"]
    assert (row["status"], row["not_finite"]) == ("ok", ["b0"])
    assert row["label"] == row["members"]["lite0"]
    assert "left out b0: its network gave no finite number" in done.stderr
    assert (
        "These members gave no finite number and were left out: b0."
        in (tmp_path / "evidence/äußerst.mp4.html").read_text()
    )


def test_a_run_that_is_killed_goes_on_to_the_same_submission(run, videos, models, tmp_path):
    """kill -9 after the second video; what was scored is not scored again, unless its file changed."""
    chosen = [tmp_path / name for name in ("one.mp4", "two.mp4", "three.mp4", "four.mp4")]
    for path in chosen:
        shutil.copy(videos / "äußerst.mp4", path)

    def words(output):
        return [
            "-m",
            "inference.predict",
            *chosen,
            "--models",
            models,
            "--members",
            "b0",
            "--device",
            "cpu",
            "--output",
            output,
        ]

    run(*words(tmp_path / "whole.csv"))
    output, partial = tmp_path / "killed.csv", tmp_path / "killed.partial.jsonl"
    process = launch(*words(output))
    interrupt(process, lambda: partial.exists() and partial.read_bytes().count(b"\n") >= 3, signal.SIGKILL)
    process.communicate()
    assert not output.exists()
    lines = partial.read_text().splitlines()
    assert 3 <= len(lines) < 5
    first, second = (json.loads(line) for line in lines[1:3])  # workers may end in another order than they began
    first["result"]["label"] = 0.125  # to be seen that it is taken as it is
    partial.write_text("\n".join([lines[0], json.dumps(first), *lines[2:]]) + '\n{"cut off')
    (tmp_path / second["name"]).touch()
    (tmp_path / "torn.partial.jsonl").write_text('{"members"')  # killed in its first write
    assert Ledger(tmp_path / "torn.csv", {"members": 1}).offsets == {}
    assert Ledger(tmp_path / "torn.csv", {"members": 1}).offsets == {}
    refused = run(*words(output), "--weights", models / MEMBERS["b0"].file, check=False)
    assert (refused.returncode, "was begun with other members, weights or options" in refused.stderr) == (2, True)
    run(*words(output))
    kept = first["name"]
    whole = (tmp_path / "whole.csv").read_text().splitlines()
    assert output.read_text().splitlines() == [
        f"{kept},0.12500000" if line.startswith(f"{kept},") else line for line in whole
    ]
    assert not partial.exists()


def test_a_checkpoint_that_does_not_fit_is_named(run, models, tmp_path):
    content = torch.load(models / MEMBERS["b0"].file, weights_only=True)
    del content["state_dict"]["module._fc.bias"]
    torch.save(content, tmp_path / MEMBERS["b0"].file)
    words = (
        "-m",
        "inference.predict",
        "x.mp4",
        "--models",
        tmp_path,
        "--members",
        "b0",
        "--output",
        tmp_path / "s.csv",
    )
    for _ in range(2):  # a ledger without rows is in nobody's way
        done = run(*words, check=False)
        assert done.returncode == 2
        assert "b0_rgb_58000.pth.tar does not fit EfficientNet: missing _fc.bias" in done.stderr
        (tmp_path / MEMBERS["b0"].file).touch()


def test_names_cannot_move_the_cursor():
    assert printable("a\x1b[31m\nb\u202e.jpg") == r"a\x1b[31m\nb\u202e.jpg"
    assert printable("grün 猫.mp4") == "grün 猫.mp4"
