"""`make_crop_lists.py`: training lists from archives and folders of ready-made crops, and what it refuses."""

import csv
import subprocess
import tarfile

import cv2
import numpy as np
import pytest

from common.landmarks import read_landmarks
from make_crop_lists import half
from tests.crop_sets import write_archives, write_photos, write_rows


@pytest.fixture
def crops(tmp_path, frames):
    """Two originals in train, one with a fake, six with fakes in val, as archives and faces.csv."""
    rows = [("train", 3, "ra", "REAL", ""), ("train", 3, "fa", "FAKE", "ra"), ("train", 4, "rb", "REAL", "")]
    for name in "ghijkl":
        rows += [("val", 30, f"r{name}", "REAL", ""), ("val", 31, f"f{name}", "FAKE", f"r{name}")]
    return write_archives(tmp_path / "crops", rows, frames)


def test_an_archive_of_a_folder_is_read_too(run, crops, tmp_path):
    """`tar cf x.tar .` writes names that begin with `./`."""
    for archive in crops.glob("*.tar"):
        with tarfile.open(archive) as file:
            file.extractall(tmp_path / archive.stem, filter="tar", members=[m for m in file if ".." not in m.name])
        subprocess.run(["tar", "cf", archive, "."], cwd=tmp_path / archive.stem, check=True)
    assert "make_crop_lists: 15 crops done" in make(run, crops).stdout


def make(run, crops, check=True):
    folders = ("--faces", crops.parent / "faces", "--lists", crops.parent / "lists")
    return run("make_crop_lists.py", "--crops", crops, *folders, check=check)


def test_lists_of_ready_made_crops(run, crops):
    done = make(run, crops)
    assert "make_crop_lists: 15 crops done" in done.stdout
    lists = crops.parent / "lists"
    assert sorted((lists / "faces224_train.txt").read_text().splitlines()) == [
        "dfdc_train_part_3/fa/frame%d_face1.jpg 1 1 1 1",
        "dfdc_train_part_3/ra/frame%d_face1.jpg 1 1 1 0",
        "dfdc_train_part_4/rb/frame%d_face1.jpg 1 1 1 0",
    ]
    fake, real = (f"dfdc_train_part_3/{name}/frame%d_face1.jpg 1 1 1 " for name in ("fa", "ra"))
    assert (lists / "faces224_pairs.txt").read_text() == f"{fake}1\n{real}0\n"  # rb has no fake
    for name in ("calibration", "test"):
        with (lists / f"faces224_{name}.csv").open(newline="") as file:
            truth = list(csv.DictReader(file))
        assert all(half(row["original"]) == name for row in truth)
        assert {row["label"] for row in truth} == {"0", "1"}
        assert len((lists / f"faces224_{name}.txt").read_text().splitlines()) == len(truth)
    assert len(list((crops.parent / "faces").rglob("*.jpg"))) == 15
    assert not (crops.parent / "escaped.jpg").exists()
    before = (lists / "faces224_test.txt").read_text()
    emptied = min((crops.parent / "faces").rglob("*.jpg"))
    emptied.write_bytes(b"")  # as a power cut leaves it
    make(run, crops)
    assert emptied.stat().st_size
    assert (lists / "faces224_test.txt").read_text() == before


def test_lists_of_several_sets(run, crops, frames):
    """Another table, of a set with two reals of one original; photos that no table names, of whole heads."""
    face = frames[0][60:284, 200:424]
    rows = [("train", "ff", "r1", "REAL", "o", "youtube"), ("train", "ff", "r2", "REAL", "o", "youtube")]
    rows += [("train", "ff", "f1", "FAKE", "o", "Deepfakes"), ("val", "ff", "f2", "FAKE", "p", "FaceSwap")]
    write_rows(crops, rows, "more.csv", "method")
    write_photos(crops / "ff.tar", {f"./ff/{row[2]}/frame1_face1.jpg": face for row in rows})
    heads = {f"lfw/woman_{at}/photo.jpg": frames[at] for at in range(10)}
    write_photos(crops / "lfw.tar", heads | {"lfw/nobody/photo.jpg": np.zeros((250, 250, 3), np.uint8)})
    done = make(run, crops)
    lists, faces = crops.parent / "lists", crops.parent / "faces"
    assert "left out because they show no face: 1, such as lfw/nobody" in done.stdout
    assert "make_crop_lists: 29 crops done" in done.stdout
    pairs = (lists / "ff_pairs.txt").read_text().splitlines()
    assert {tuple(pairs[at : at + 2]) for at in (0, 2)} == {
        ("ff/f1/frame%d_face1.jpg 1 1 1 1", f"ff/{real}/frame%d_face1.jpg 1 1 1 0") for real in ("r1", "r2")
    }
    with (lists / "ff_val.csv").open(newline="") as file:
        assert [(row["filename"], row["method"]) for row in csv.DictReader(file)] == [
            ("ff/f2/frame1_face1.jpg", "FaceSwap")
        ]
    photos = {kind: (lists / f"lfw_{kind}.txt").read_text().splitlines() for kind in ("train", "val", "blend")}
    assert len(photos["train"]) + len(photos["val"]) == 10
    assert len(photos["val"]) == 2
    assert set(photos["blend"]) <= set(photos["train"])
    assert not (lists / "lfw_pairs.txt").exists()
    cut = cv2.imread(str(faces / "lfw/woman_0/frame1_face1.jpg"))
    assert 0.5 * frames[0].shape[0] < cut.shape[0] == cut.shape[1] < 0.8 * frames[0].shape[0]
    landmarks = read_landmarks(lists / "landmarks.csv")
    assert landmarks.keys() >= {"ff/r1/frame1_face1.jpg", "dfdc_train_part_3/ra/frame1_face1.jpg"}
    points = landmarks["ff/r1/frame1_face1.jpg"]
    assert 0 < points.min() < points.max() < 224
    (lists / "landmarks.csv").write_text((lists / "landmarks.csv").read_text().replace(f"{points[0, 0]:.2f}", "1.00"))
    make(run, crops)  # what is known is not looked for again
    assert read_landmarks(lists / "landmarks.csv")["ff/r1/frame1_face1.jpg"][0, 0] == 1


def test_originals_stay_on_one_side_across_sets(run, crops):
    write_rows(crops, [("val", "other", "x", "FAKE", "rb")], "other.csv")
    refused = make(run, crops, check=False)
    assert (refused.returncode, "other.csv:2: the original rb is on both sides" in refused.stderr) == (2, True)
    write_rows(crops, [("train", 3, "ra", "REAL", "")], "other.csv")
    refused = make(run, crops, check=False)
    assert (refused.returncode, "dfdc_train_part_3/ra is in the tables twice" in refused.stderr) == (2, True)


def test_crops_in_folders_are_listed_like_those_in_archives(run, crops, tmp_path, frames):
    """With a table in one folder and its crops in another; and a fake whose original is in another set."""
    rows = [("train", "more", "fx", "FAKE", "ra"), ("train", "more", "rx", "REAL", "rx")]
    rows += [("train", "more", "fy", "FAKE", "rx"), ("train", "more", "fz", "FAKE", "nobody")]
    write_rows(crops, rows, "more.csv")
    laid = tmp_path / "laid"
    for _, part, video, *_ in rows:
        (laid / part / video).mkdir(parents=True)
        cv2.imwrite(str(laid / part / video / "frame1_face1.jpg"), frames[0][60:284, 200:424])
    (laid / "more/unlisted").mkdir()
    (laid / "more/unlisted/frame1_face1.jpg").write_bytes(b"held back")
    (laid / "ffhq/00001").mkdir(parents=True)
    cv2.imwrite(str(laid / "ffhq/00001/photo.jpg"), frames[0])
    before = make(run, crops, check=False)
    assert (before.returncode, f"4 crops of the tables are not in {crops}" in before.stderr) == (2, True)
    folders = ("--faces", tmp_path / "faces", "--lists", tmp_path / "lists")
    done = run("make_crop_lists.py", "--crops", crops, laid, *folders)
    assert "make_crop_lists: 20 crops done" in done.stdout
    lists = tmp_path / "lists"
    pairs = (lists / "more_pairs.txt").read_text().splitlines()
    line = "{}/frame%d_face1.jpg 1 1 1 {}"
    assert {tuple(pairs[at : at + 2]) for at in range(0, len(pairs), 2)} == {
        (line.format("more/fx", 1), line.format("dfdc_train_part_3/ra", 0)),
        (line.format("more/fy", 1), line.format("more/rx", 0)),
    }
    assert len((lists / "faces224_pairs.txt").read_text().splitlines()) == 2, "as without the folder"
    whole, cut = frames[0].shape[0], cv2.imread(str(tmp_path / "faces/ffhq/00001/frame1_face1.jpg")).shape[0]
    assert 0.5 * whole < cut < 0.8 * whole
    assert not (tmp_path / "faces/more/unlisted").exists()


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("train", 3, "ra", "REAL", ""), ("val", 30, "fa", "FAKE", "ra")], "the original ra is on both sides"),
        ([("train", 3, "../ra", "REAL", "")], "unsafe name"),
        ([("test", 3, "ra", "REAL", "")], "faces.csv:2: split 'test' is neither train nor val"),
        ([("train", 3, "zz", "REAL", "")], "1 crops of the tables are not in"),
    ],
)
def test_wrong_rows_are_refused(run, crops, rows, complaint):
    write_rows(crops, rows)
    done = make(run, crops, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
