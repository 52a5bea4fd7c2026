"""Guides of the documentation, followed step by step: what their code blocks say is done, and works."""

import json
import shutil
import subprocess
import sys

import cv2
import pytest

from common.files import write_table
from inference import Scorer
from tests.conftest import ROOT
from tests.pages import blocks, commands, follow
from tests.strange import encode
from tests.tiny import checkout, one_thread, settings, write_crops


def test_one_crop_through_a_member(run, frames, weights, tmp_path):
    """A video of one frame five times: its only group has the logits of its crop."""
    (tmp_path / "videos/part").mkdir(parents=True)
    clip = encode(tmp_path / "videos/part/clip.mp4", frames[:1] * 5, codec="ffv1")
    with Scorer(members="lite0", runtime="torch", workers=0, evidence=False) as scorer:
        expected = scorer.score(clip).label
    (preprocess,) = commands("docs/use/one_crop.md")
    places = {"videos": tmp_path / "videos", "faces": tmp_path / "faces"}
    run(*(places.get(word, word) for word in preprocess))
    (code,) = blocks("docs/use/one_crop.md", "python")
    crop = tmp_path / "faces/part/clip/frame1_face1.png"
    names = {}
    exec(code.replace("face.png", str(crop)), names)
    assert names["score"] == pytest.approx(expected, abs=1e-6)
    assert abs(expected - 0.5) > 0.1


def in_copy(root, words, status=0):
    """What a command of a page prints in a copy of the repository."""
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=root, env=one_thread(), capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_a_network_is_added_trained_and_scores(frames, weights, tmp_path):
    page, root = "docs/train/new_network.md", checkout(tmp_path / "copy", "inference", "faces")
    follow(page, root)
    for line in blocks(page, "sh")[0].splitlines():
        subprocess.run(["sh", "-ec", line], cwd=root, check=True)
    crops = write_crops(tmp_path / "crops", frames)
    overrides = settings(crops, **{"lr_scheduler.max_iter": 2, "val_freq": 2})
    train, predict = commands(page)
    said = in_copy(root, [*train, "--datetime", "now", *overrides])
    assert "97,938 parameters" in said
    assert "done: 2 steps" in said
    (description,) = blocks(page, "yaml")
    (root / "small.yaml").write_text(description.replace("DATETIME", "now").replace("size: 299", "size: 64"))
    encode(root / "clip.mp4", frames[:5])
    assert "scoring with small of small.yaml" in in_copy(root, [*predict, "--workers", "1"])
    row = json.loads((root / "submission.jsonl").read_text())
    assert (row["status"], row["members"]) == ("ok", {"small": row["label"]})


@pytest.mark.slow
def test_crops_of_ones_own_are_listed_trained_and_measured(frames, tmp_path):
    """Four originals with a fake each: two for training, two for validation."""
    page, root = "docs/train/own_crops.md", checkout(tmp_path / "copy", "inference", "faces", "quality", "shipped")
    shutil.copy(ROOT / "make_crop_lists.py", root)
    rows = [("split", "part", "video", "label", "original", "method")]
    for number, original in enumerate("abcd"):
        split = "train" if number < 2 else "val"
        rows += [
            (split, "mine", original, "REAL", "", ""),
            (split, "mine", f"{original}2", "FAKE", original, "FaceSwap"),
        ]
    for number, (_, part, video, *_) in enumerate(rows[1:]):
        (root / f"crops/{part}/{video}").mkdir(parents=True)
        cv2.imwrite(str(root / f"crops/{part}/{video}/frame1_face1.jpg"), frames[number][60:284, 200:424])
    write_table(root / "crops/mine.csv", rows)
    lists, train, measure = commands(page)
    assert "make_crop_lists: 8 crops done" in in_copy(root, lists)
    small = {"lr_scheduler.max_iter": 2, "batch_size": 4, "workers": 0, "val_freq": 2}
    words = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    assert "done: 2 steps" in in_copy(root, [*train, *words, "--datetime", "now"])
    assert list((root / "image_based/experiments/mine/now").glob("ckpt_*.pth.tar"))
    assert "| mine_val |  | 4 | 2 |" in in_copy(root, measure)


def test_a_data_set_is_added_checked_and_measured(frames, weights, tmp_path):
    """One listed video is missing, and another is not listed."""
    page, root = "docs/evaluate/new_data_set.md", checkout(tmp_path / "copy", "inference", "faces", "quality")
    follow(page, root)
    names = ("original/a.mp4", "original/b.mp4", "swap/a_b.mp4", "reenact/a_b.mp4", "swap/c_d.mp4")
    for number, name in enumerate(names):
        (root / "Forged" / name).parent.mkdir(exist_ok=True, parents=True)
        encode(root / "Forged" / name, frames[number : number + 5])
    (root / "Forged/test.txt").write_text("\n".join([*names[:-1], "swap/b_a.mp4"]))
    check, measure = commands(page)
    said = in_copy(root, check, status=1)
    assert "benchmark: Forged, test: 2 real, 1 reenact, 2 swap" in said
    assert "files in the list are not on disk: swap/b_a.mp4\n    its authors send a link: forged.example.org" in said
    assert "videos do not belong to the set: swap/c_d.mp4" in said
    in_copy(root, [*measure, "--members", "lite0", "--rounds", "2", "--workers", "1"], status=1)
    report = json.loads((root / "benchmark/forged/benchmark.json").read_text())
    assert report["coverage"] == {"real": {"ok": 2}, "reenact": {"ok": 1}, "swap": {"ok": 1, "missing": 1}}
    assert set((root / "benchmark/forged/truth.csv").read_text().split()) == {
        "filename,label,original,subset", "original/a.mp4,0,a,", "original/b.mp4,0,b,", "swap/a_b.mp4,1,a,swap",
        "swap/b_a.mp4,1,b,swap", "reenact/a_b.mp4,1,a,reenact",
    }  # fmt: skip
