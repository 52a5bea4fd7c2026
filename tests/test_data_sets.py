"""Data sets by the real command: several at once and their table, Celeb-DF++ by scenario, KoDF."""

import csv
import json
import re
from pathlib import Path

import cv2
import pytest

from common.errors import BadInputError
from quality.benchmark import roots_of
from quality.sets.items import Variant
from quality.sets.layouts import read_items
from tests.strange import encode

QUICK = ("--rounds", "5", "--workers", "1")

# A detector that gives the score in a JSON file beside it, by the end of the path, and notes what it was asked.
DETECTOR = """
import json, pathlib
HERE = pathlib.Path(__file__).parent
SCORES = json.loads((HERE / "scores.json").read_text())
def predict(path):
    with (HERE / "asked.txt").open("a") as file:
        print(path, file=file)
    (score,) = (score for end, score in SCORES.items() if path.endswith("/" + end))
    return SHARPNESS * score
"""


@pytest.fixture
def make_set(film):
    """Write a set's videos below a root: readable, and all different."""

    def make(root, *keys):
        for key in keys:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(film.read_bytes() + str(root / key).encode())

    return make


@pytest.fixture
def detector(tmp_path):
    """Write a detector with these scores by the end of the path; return its file."""

    def make(scores, name="theirs", sharpness=1.0):
        folder = tmp_path / "detectors"
        folder.mkdir(exist_ok=True)
        (folder / "scores.json").write_text(json.dumps(scores))
        (folder / f"{name}.py").write_text(DETECTOR.replace("SHARPNESS", str(sharpness)))
        return folder / f"{name}.py"

    return make


def asked(file):
    """The paths that the detectors were asked about since the last call."""
    log = file.parent / "asked.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return sorted(Path(line).name for line in lines)


def sets_table(output):
    with (output / "sets.csv").open(newline="") as file:
        return list(csv.reader(file))


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def protocol_rows(output):
    """The AUC, the number of scores and the difference of each protocol."""
    cells = [line.strip("| ").split(" | ") for line in (output / "protocols.md").read_text().splitlines()[2:]]
    return {name: (auc, scores, difference) for name, auc, scores, difference, _ in cells}


SCORES = {
    **{"real/r1.mp4": 0.1, "real/r2.mp4": 0.4, "fake/f1.mp4": 0.3, "fake/f2.mp4": 0.9},  # AUC 3 of 4
    **{"a.mp4": 0.2, "b.mp4": 0.8},  # 1
    **{"p1_001.mp4": 0.5, "p2_001.mp4": 0.6, "p1_p2_1_0010.mp4": 0.6},  # 1.5 of 2
}


def test_several_sets_end_in_one_table_and_one_that_fails_loses_no_other(run, make_set, detector, tmp_path):
    data, output = tmp_path / "data", tmp_path / "out"
    make_set(data / "folder", "real/r1.mp4", "real/r2.mp4", "fake/f1.mp4", "fake/f2.mp4")
    make_set(data / "csv", "a.mp4", "b.mp4")
    (data / "csv/labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    theirs = detector(SCORES)
    words = ["-m", "quality.benchmark", "folder", "kodf", "csv", "--root", data, "--output", output, *QUICK]
    done = run(*words, "--detector", theirs, check=False)
    assert done.returncode == 2
    assert f"benchmark: error: kodf: {data / 'kodf'} is not a KoDF: it has no synthesized_videos" in done.stderr
    assert sets_table(output) == [
        ["detector", "folder", "kodf", "csv", "mean"],
        ["theirs", "0.7500", "", "1.0000", ""],
    ], "a mean over fewer sets would not be comparable"
    text = (output / "sets.md").read_text()
    assert "- theirs, folder: 2 real, 2 fake; 0 without a score" in text
    assert "- theirs, kodf: could not be measured: " in text
    assert text.strip() in done.stdout
    assert json.loads((output / "folder/benchmark.json").read_text())["overall"]["video_auc"][0] == 0.75
    assert len(asked(theirs)) == 6

    make_set(data / "kodf", "original_videos/p1/p1_001.mp4", "original_videos/p2/p2_001.mp4")
    make_set(data / "kodf", "synthesized_videos/dfl/20200803/p1/p1_p2_1_0010.mp4")
    run(*words, "--detector", theirs)
    assert sets_table(output)[1] == ["theirs", "0.7500", "0.7500", "1.0000", f"{2.5 / 3:.4f}"]
    assert asked(theirs) == ["p1_001.mp4", "p1_p2_1_0010.mp4", "p2_001.mp4"], "the others were scored already"
    assert list(output.glob("**/*.partial.jsonl")) == []


@pytest.mark.slow
def test_interrupted_sets_go_on(run, make_set, detector, tmp_path):
    make_set(tmp_path / "own", "real/r1.mp4", "real/r2.mp4", "fake/f1.mp4", "fake/f2.mp4")
    make_set(tmp_path / "listed", "a.mp4", "b.mp4")
    (tmp_path / "listed/labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    theirs, marker = detector(SCORES), tmp_path / "interrupt"
    interrupt = f"    if path.endswith('b.mp4') and pathlib.Path({str(marker)!r}).exists():\n"
    interrupt += "        import os, signal\n        os.kill(os.getppid(), signal.SIGINT)\n"
    theirs.write_text(theirs.read_text() + "ask = predict\ndef predict(path):\n" + interrupt + "    return ask(path)\n")
    marker.touch()
    words = ["-m", "quality.benchmark", "folder", "csv", "--root", f"folder={tmp_path / 'own'}", *QUICK]
    words += ["--root", f"csv={tmp_path / 'listed'}", "--output", tmp_path / "out", "--detector", theirs]
    assert run(*words, check=False).returncode == 130
    assert sets_table(tmp_path / "out")[1] == ["theirs", "0.7500", "", ""]
    assert "- theirs, csv: not measured yet" in (tmp_path / "out/sets.md").read_text()
    marker.unlink()
    asked(theirs)
    run(*words)
    assert asked(theirs) == ["b.mp4"]
    assert sets_table(tmp_path / "out")[1] == ["theirs", "0.7500", "1.0000", "0.8750"]


def test_members_and_other_detectors_have_a_line_each(run, make_set, detector, weights, pictures, tmp_path):
    make_set(tmp_path / "folder", "real/r1.mp4", "fake/f1.mp4")
    make_set(tmp_path / "csv", "a.mp4")
    encode(tmp_path / "csv/b.mp4", [cv2.GaussianBlur(picture, (0, 0), 2) for picture in pictures[:5]])
    (tmp_path / "csv/labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    words = ["-m", "quality.benchmark", "folder", "csv", "--root", tmp_path, "--output", tmp_path / "out"]
    words += ["--members", "lite0", "--max-frames", "5", *QUICK]
    ours, flat = ["--detector", "members"], ["--detector", detector(SCORES, "flat", sharpness=0.0)]
    run(*words, *ours, *flat)
    scores = {row["key"]: float(row["score"]) for row in read_rows(tmp_path / "out/members/csv/scores.csv")}
    assert scores["a.mp4"] != scores["b.mp4"]
    order = float(scores["b.mp4"] > scores["a.mp4"])
    assert sets_table(tmp_path / "out") == [
        ["detector", "folder", "csv", "mean"],
        ["members", "0.5000", f"{order:.4f}", f"{(0.5 + order) / 2:.4f}"],  # the folder holds one film twice
        ["flat", "0.5000", "0.5000", "0.5000"],
    ]
    report = json.loads((tmp_path / "out/members/csv/benchmark.json").read_text())
    assert report["coverage"] == {"real": {"ok": 1}, "fake": {"ok": 1}}
    assert (tmp_path / "out/flat/folder/scores.csv").is_file()
    assert list((tmp_path / "out").glob("**/*.partial.jsonl")) == []
    done = run(*words, *flat, *flat, check=False)
    assert (done.returncode, "two have the same name, of flat, flat" in done.stderr) == (2, True)


def test_a_root_may_be_named_for_each_set_or_hold_them_all():
    assert roots_of(["ffpp"], ["/data/FF"]) == {"ffpp": Path("/data/FF")}
    assert roots_of(["ffpp"], ["ffpp=/data/FF"]) == {"ffpp": Path("/data/FF")}
    assert roots_of(["ffpp", "dfdc"], ["/data"]) == {"ffpp": Path("/data/ffpp"), "dfdc": Path("/data/dfdc")}
    assert roots_of(["ffpp", "dfdc"], ["/data", "dfdc=x=y"]) == {"ffpp": Path("/data/ffpp"), "dfdc": Path("x=y")}
    for sets, given in (
        (["ffpp"], ["a", "b"]),
        (["ffpp"], ["dfdc=a"]),
        (["ffpp", "dfdc"], ["ffpp=a"]),
        (["ffpp", "dfdc"], ["ffpp=a", "dfdc=b", "c"]),
    ):
        with pytest.raises(BadInputError, match=f"--root {re.escape(' '.join(given))}: give "):
            roots_of(sets, given)


def test_celebdf_plus_plus_is_measured_by_scenario(run, make_set, detector, tmp_path):
    """As its authors lay it out: FaceSwap, FaceReenact and TalkingFace, each with its methods."""
    root, fakes = tmp_path / "Celeb-DF-v3", {
        "FaceSwap/Celeb-DF/id0_id1_0000.mp4": 0.4,
        "FaceSwap/InSwapper/id0_id1_0000.mp4": 0.6,
        "FaceReenact/LivePortrait/id0_id1_0000.mp4": 0.2,
        "TalkingFace/SadTalker/id0_0000_test_0003.mp4": 0.9,
    }  # fmt: skip
    real = {"Celeb-real/id0_0000.mp4": 0.1, "Celeb-real/id2_0001.mp4": 0.3, "YouTube-real/00001.mp4": 0.5}
    listed = [f"1 {key}" for key in real] + [f"0 Celeb-synthesis/{key}" for key in fakes]
    training = "Celeb-synthesis/TalkingFace/FLOAT/id2_0001_test_0000.mp4"
    make_set(root, *real, *(f"Celeb-synthesis/{key}" for key in fakes), training)
    (root / "List_of_testing_videos.txt").write_text("\n".join(listed) + "\n")
    words = ["-m", "quality.benchmark", "celebdf3", "--root", root, "--output", tmp_path / "out", *QUICK]
    run(*words, "--protocols", "--detector", detector(real | fakes))
    rows = protocol_rows(tmp_path / "out")
    assert rows["whole videos"] == ("0.7500", "7", "+0.0000")  # 2 + 3 + 1 + 3 of 12 pairs
    assert rows["whole videos, face swap"] == ("0.8333", "5", "+0.0833")  # 2 + 3 of 6
    assert rows["whole videos, face reenactment"] == ("0.3333", "4", "-0.4167")  # 1 of 3
    assert rows["whole videos, talking face"] == ("1.0000", "4", "+0.2500")
    report = json.loads((tmp_path / "out/benchmark.json").read_text())
    assert sorted(report["by_manipulation"]) == ["Celeb-DF", "InSwapper", "LivePortrait", "SadTalker"]
    items = {item.key.rpartition("/")[2]: item for item in read_items("celebdf3", root, Variant())}
    talking, swap = items["id0_0000_test_0003.mp4"], items["id0_id1_0000.mp4"]
    assert (talking.original, talking.identities) == ("Celeb-real/id0_0000", ("id0",))
    assert (swap.original, swap.identities) == ("Celeb-real/id0_0000", ("id0", "id1"))
    assert items["id2_0001_test_0000.mp4"].split == "train"


def test_kodf_is_read_as_others_read_its_release(run, make_set, detector, tmp_path):
    root = tmp_path / "kodf_release"
    real = {"original_videos/110531/110531_121.mp4": 0.2, "original_videos/138311/138311_034.mp4": 0.4}
    fakes = {
        "dfl/20200803/110531/110531_138311_1_0064.mp4": 0.3,
        "dffs/20200803/110531/110531_138311_2_0260.mp4": 0.5,
        "fsgan/20200804/138311/138311_110531_3_0010.mp4": 0.5,
        "fo/20200805/110531/110531_110531_4_0011.mp4": 0.1,
        "audio-driven/20200820/138311/138311_110531_5_0680.mp4": 0.3,
    }
    make_set(root, *real, *(f"synthesized_videos/{key}" for key in fakes))
    words = ["-m", "quality.benchmark", "kodf", "--root", root, "--output", tmp_path / "out", *QUICK]
    done = run(*words, "--protocols", "--detector", detector(real | fakes))
    assert "benchmark: KoDF, test: 2 real, 1 audio-driven, 1 dffs, 1 dfl, 1 fo, 1 fsgan" in done.stdout
    rows = protocol_rows(tmp_path / "out")
    assert rows["whole videos, face swap"][:2] == (f"{5 / 6:.4f}", "5")
    assert rows["whole videos, face reenactment"][:2] == ("0.0000", "3")
    assert rows["whole videos, talking face"][:2] == ("0.5000", "3")
    truth = read_rows(tmp_path / "out/truth.csv")
    assert {row["original"] for row in truth} == {"110531", "138311"}, "a person's videos are drawn together"
    items = {item.manipulation: item for item in read_items("kodf", root, Variant())}
    assert (items["fo"].identities, items["dfl"].identities) == (("110531",), ("110531", "138311"))
