"""Benchmarks on public data sets: small trees of each layout, their check, their table, and their score files."""

import csv
import json
import math
import shutil
import signal

import cv2
import jsonschema
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from common.errors import BadInputError
from common.images import resize
from inference.members import MODELS, SHIPPED
from inference.scoring import fake_probability
from quality.score_files import read_score_file
from quality.sets.items import SPLITS_FOLDER, Variant
from quality.sets.layouts import LAYOUTS, read_items
from shipped.crops import load_fastest
from tests.conftest import interrupt, launch
from tests.strange import encode
from tests.test_schemas import schema, strict

PAIRS = json.loads((SPLITS_FOLDER / "ffpp_test.json").read_text())


@pytest.fixture(scope="module")
def clips(frames, tmp_path_factory):
    """Twelve short real clips, all different: the first six sharp, the others blurred as fakes often are."""
    root = tmp_path_factory.mktemp("clips")
    made = []
    for number in range(12):
        pictures = [cv2.resize(image, (480, 270)) for image in frames[number % 6 : number % 6 + 5]]
        if number >= 6:
            pictures = [cv2.GaussianBlur(image, (0, 0), 1.5) for image in pictures]
        made.append(encode(root / f"{number}.mp4", pictures))
    return made


def put(clip, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip.read_bytes())
    return path


def benchmark(run, kind, root, output, *more, check=True):
    return run("-m", "quality.benchmark", kind, "--root", root, "--output", output, *more, check=check)


def findings(output):
    return {
        (finding["kind"], finding["what"]): finding["keys"]
        for finding in json.loads((output / "check.json").read_text())
    }


def ffpp_tree(root, clips):
    """Two official pairs with their fakes by two manipulations, as FaceForensics++ lies on disk."""
    for number, (first, second) in enumerate(PAIRS[:2]):
        for index, name in enumerate((first, second)):
            put(clips[2 * number + index], root / f"original_sequences/youtube/c23/videos/{name}.mp4")
        for kind in ("Deepfakes", "Face2Face"):
            for index, name in enumerate((f"{first}_{second}", f"{second}_{first}")):
                path = root / f"manipulated_sequences/{kind}/c23/videos/{name}.mp4"
                put(clips[6 + 2 * number + index], path).write_bytes(path.read_bytes() + kind.encode())
    return root


def test_the_check_of_faceforensics_names_what_is_wrong(run, clips, frames, tmp_path):
    root, output = ffpp_tree(tmp_path / "ff", clips), tmp_path / "out"
    (first, second), (third, fourth) = PAIRS[:2]
    videos = "manipulated_sequences/Deepfakes/c23/videos"
    (root / f"{videos}/{first}_{second}.mp4").unlink()
    (root / f"{videos}/{second}_{first}.mp4").write_bytes(b"")
    (root / f"{videos}/{third}_{fourth}.mp4").write_text("not a video\n" * 99)
    put(clips[0], root / f"{videos}/999_998_old.mp4")
    put(clips[0], root / "manipulated_sequences/Deepfakes/masks/videos" / f"{first}_{second}.mp4")
    put(clips[0], root / f"manipulated_sequences/Face2Face/c23/videos/{first}_{second}.mp4")  # the original itself
    narrow = [
        cv2.resize(image, (464, 270)) for image in frames[:5]
    ]  # a multiple of 16, but not the largest one up to 480
    encode(root / f"manipulated_sequences/Face2Face/c23/videos/{third}_{fourth}.mp4", narrow)
    done = benchmark(run, "ffpp", root, output, "--check", check=False)
    assert done.returncode == 1
    found = findings(output)
    missing = found["missing", "files in the list are not on disk"]
    assert f"{videos}/{first}_{second}.mp4" in missing
    assert len(missing) == 2 * 68 + 4 * 140 - 8 + 1, "all but the two pairs of two manipulations, and one of those"
    assert found["empty", "files are empty"] == [f"{videos}/{second}_{first}.mp4"]
    assert found["unreadable", "files are not readable videos"] == [f"{videos}/{third}_{fourth}.mp4"]
    assert found["extra", "videos do not belong to the set"] == [f"{videos}/999_998_old.mp4"]
    assert sorted(found["content", "files have the same content as a file of the other label"]) == [
        f"manipulated_sequences/Face2Face/c23/videos/{first}_{second}.mp4",
        f"original_sequences/youtube/c23/videos/{first}.mp4",
    ]
    assert not any(kind in ("leak", "width", "rate", "label") for kind, _ in found)
    assert f"python download-FaceForensics.py {root} -d all -c c23 -t videos" in done.stdout
    assert not (output / "submission.csv").exists()


def test_the_check_of_faceforensics_names_known_oddities(run, clips, frames, tmp_path):
    root, output = tmp_path / "ff", tmp_path / "out"
    (first, second) = PAIRS[0]
    wide = [cv2.resize(image, (486, 270)) for image in frames[:5]]
    encode(root_file(root, f"original_sequences/youtube/c23/videos/{first}.mp4"), wide)
    put(clips[6], root / f"manipulated_sequences/Deepfakes/c23/videos/{first}_{second}.mp4")  # 480 pixels wide
    slow = root_file(root, f"manipulated_sequences/FaceSwap/c23/videos/{first}_{second}.mp4")
    encode(slow, wide, times=[0, 2, 4, 6, 8])
    benchmark(run, "ffpp", root, output, "--check", check=False)
    found = findings(output)
    assert found["width", "fakes are cut to a width that is a multiple of 16"] == [
        f"manipulated_sequences/Deepfakes/c23/videos/{first}_{second}.mp4"
    ]
    assert found["rate", "fakes have another frame rate than their original"] == [
        f"manipulated_sequences/FaceSwap/c23/videos/{first}_{second}.mp4"
    ]


def root_file(root, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    return root / name


def test_an_inverted_list_and_a_leak_are_found(run, clips, tmp_path):
    root, output = tmp_path / "celeb", tmp_path / "out"
    put(clips[0], root / "Celeb-real/id0_0000.mp4")
    put(clips[1], root / "YouTube-real/00001.mp4")
    put(clips[6], root / "Celeb-synthesis/id0_id1_0000.mp4")
    put(clips[7], root / "Celeb-synthesis/id0_id2_0000.mp4")
    (root / "List_of_testing_videos.txt").write_text(
        "0 Celeb-real/id0_0000.mp4\n0 YouTube-real/00001.mp4\n1 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    assert benchmark(run, "celebdf1", root, output, "--check", check=False).returncode == 1
    found = findings(output)
    assert len(found["label", "labels in the list contradict the folder"]) == 3
    assert found["leak", "originals are in two splits"] == ["Celeb-real/id0_0000"]
    assert found["leak", "identities are in two splits"] == ["id0"]
    (root / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00001.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    (root / "Celeb-synthesis/id0_id2_0000.mp4").rename(root / "Celeb-synthesis/id3_id2_0000.mp4")
    for shard in ([], ["--shard", "0/2"]):
        done = benchmark(run, "celebdf1", root, output, "--check", *shard)
        assert "the list is complete" in done.stdout
        assert findings(output) == {}
        (output / "check.json").unlink()
    (root / "List_of_testing_videos.txt").unlink()
    with pytest.raises(BadInputError, match=r"List_of_testing_videos\.txt is missing"):
        read_items("celebdf1", root, Variant())
    assert sum(item.split == "test" for item in read_items("celebdf2", root, Variant())) == 518


def test_paths_become_labels_manipulations_originals_and_splits(tmp_path, clips):
    def items_by_key(kind, root):
        return {
            item.key: (item.label, item.manipulation, item.original, item.identities, item.split)
            for item in read_items(kind, root, Variant())
        }

    root = tmp_path / "dfd"
    real = "original_sequences/actors/c23/videos/01__exit_phone_room.mp4"
    fake = "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4"
    for key in (real, fake, "original_sequences/actors/c40/videos/01__exit_phone_room.mp4"):
        put(clips[0], root / key)
    assert items_by_key("dfd", root) == {
        real: (0, "", "01__exit_phone_room", ("01",), "test"),
        fake: (1, "DeepFakeDetection", "01__exit_phone_room", ("01", "02"), "test"),
    }
    root = tmp_path / "celeb3"
    put(clips[0], root / "Celeb-real/id3_0004.mp4")
    put(clips[0], root / "Celeb-synthesis/FaceSwap/SimSwap/id3_id5_0004.mp4")
    (root / "List_of_testing_videos.txt").write_text("0 Celeb-synthesis/FaceSwap/SimSwap/id3_id5_0004.mp4\n")
    assert items_by_key("celebdf3", root) == {
        "Celeb-real/id3_0004.mp4": (0, "", "Celeb-real/id3_0004", ("id3",), "train"),
        "Celeb-synthesis/FaceSwap/SimSwap/id3_id5_0004.mp4": (
            *(1, "SimSwap", "Celeb-real/id3_0004"), ("id3", "id5"), "test",
        ),
    }  # fmt: skip
    root = tmp_path / "celeb2"  # as DeepfakeBench wants it, with a list that does not know that
    put(clips[0], root / "Celeb-real/videos/id3_0004.mp4")
    put(clips[0], root / "Celeb-synthesis/videos/id3_id5_0004.mp4")
    (root / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id3_0004.mp4\n0 Celeb-synthesis/id3_id5_0004.mp4\n1 YouTube-real/00001.mp4\n"
    )
    assert items_by_key("celebdf2", root) == {
        "Celeb-real/videos/id3_0004.mp4": (0, "", "Celeb-real/id3_0004", ("id3",), "test"),
        "Celeb-synthesis/videos/id3_id5_0004.mp4": (
            *(1, "Celeb-synthesis", "Celeb-real/id3_0004"), ("id3", "id5"), "test",
        ),
        "YouTube-real/00001.mp4": (0, "", "YouTube-real/00001", ("00001",), "test"),
    }  # fmt: skip
    root = tmp_path / "df40"
    (first, second), third = PAIRS[0], json.loads((SPLITS_FOLDER / "ffpp_train.json").read_text())[0][0]
    celebrity = next(
        line.split()[1]
        for line in (SPLITS_FOLDER / "celebdf_v2_test.txt").read_text().splitlines()
        if "Celeb-real" in line
    )[11:-4]
    for folder in (
        f"DF40/simswap/ff/frames/{first}_{second}",
        f"DF40/simswap/ff/frames/{third}_{first}",
        "DF40/mobileswap/cdf/deep/er/mobileswap/cdf/frames/id3_id5_0004",
        f"FaceForensics++/original_sequences/youtube/c23/frames/{first}",
        f"FaceForensics++/original_sequences/youtube/c40/frames/{first}",
        "FaceForensics++/original_sequences/actors/c23/frames/01__kitchen",
        f"Celeb-DF-v2/Celeb-real/frames/{celebrity}",
        "Celeb-DF-v2/YouTube-real/frames/99999",
    ):
        for number in ("9", "10"):
            root_file(root, f"{folder}/{number}.png").write_bytes(b"")
    items = {item.key: item for item in read_items("df40", root, Variant())}
    assert {key: (item.label, item.manipulation, item.original, item.split) for key, item in items.items()} == {
        f"DF40/simswap/ff/frames/{first}_{second}": (1, "simswap", f"ff/{first}", "test"),
        f"DF40/simswap/ff/frames/{third}_{first}": (1, "simswap", f"ff/{third}", "train"),
        "DF40/mobileswap/cdf/deep/er/mobileswap/cdf/frames/id3_id5_0004": (1, "mobileswap", "cdf/id3", "test"),
        f"FaceForensics++/original_sequences/youtube/c23/frames/{first}": (0, "", f"ff/{first}", "test"),
        f"Celeb-DF-v2/Celeb-real/frames/{celebrity}": (0, "", f"cdf/{celebrity.split('_')[0]}", "test"),
        "Celeb-DF-v2/YouTube-real/frames/99999": (0, "", "cdf/99999", "train"),
    }
    folder = f"DF40/simswap/ff/frames/{first}_{second}"
    assert items[folder].frames == (f"{folder}/9.png", f"{folder}/10.png")
    root = tmp_path / "dfdc"
    for part in (7, 35):
        entries = {
            "a.mp4": {"label": "REAL", "split": "train"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"},
        }  # fmt: skip
        file = root_file(root, f"dfdc_train_part_{part}/metadata.json")
        file.write_text(json.dumps(entries))
    root_file(root, "test/labels.csv").write_text("filename,label\nc.mp4,1\n")
    root_file(root, "test/metadata.json").write_text('{"c.mp4": {"is_fake": 1}}')  # the same video again
    elsewhere = root_file(tmp_path, "elsewhere/dfdc_train_part_2/metadata.json")
    elsewhere.write_text('{"d.mp4": {"label": "REAL"}}')
    (root / "linked").symlink_to(elsewhere.parent)
    dfdc = items_by_key("dfdc", root)
    a = "dfdc_train_part_35/a.mp4"
    assert dfdc["dfdc_train_part_35/b.mp4"] == (1, "DFDC", a, (a,), "val")
    assert dfdc["dfdc_train_part_7/a.mp4"][4] == "train"
    assert dfdc["test/c.mp4"] == (1, "DFDC", "test/c.mp4", ("test/c.mp4",), "test")
    assert dfdc["linked/d.mp4"][4] == "train"
    assert items_by_key("dfdc", root / "dfdc_train_part_35")["b.mp4"][4] == "val"
    (root / "test/metadata.json").write_text('{"c.mp4": {"is_fake": 0}}')
    with pytest.raises(BadInputError, match=r"test/c\.mp4 is listed as REAL and as FAKE"):
        read_items("dfdc", root, Variant())
    root = tmp_path / "dfdcp"
    entries = {
        "original_videos/12/x.mp4": {"label": "real", "set": "test", "target_id": 12},
        "method_A/12_34/y.mp4": {"label": "fake", "set": "train", "target_id": 12, "swapped_id": 34},
    }
    root_file(root, "dataset.json").write_text(json.dumps(entries))
    assert items_by_key("dfdcp", root) == {
        "original_videos/12/x.mp4": (0, "", "12", ("12",), "test"),
        "method_A/12_34/y.mp4": (1, "method_A", "12", ("12", "34"), "train"),
    }
    root = tmp_path / "csv"
    root_file(root, "labels.csv").write_text(
        "filename,label,original,manipulation\nr.mp4,0,,\ns/f.mp4,FAKE,r.mp4,wav\n"
    )
    assert items_by_key("csv", root) == {
        "r.mp4": (0, "", "r.mp4", ("r.mp4",), "test"),
        "s/f.mp4": (1, "wav", "r.mp4", ("r.mp4",), "test"),
    }
    root_file(root, "labels.csv").write_text("filename,label\n../r.mp4,0\n")
    with pytest.raises(BadInputError, match="is outside the folder"):
        read_items("csv", root, Variant())


def test_a_wrong_set_root_split_or_manipulation_gives_one_line(run, clips, tmp_path):
    root = ffpp_tree(tmp_path / "data/ff", clips)
    done = benchmark(run, "ffpp", root.parent, tmp_path / "out", check=False)
    assert done.returncode == 2
    expected = "original_sequences/youtube or manipulated_sequences/Deepfakes"
    assert f"is not a FaceForensics++: it has no {expected}; {root} has" in done.stderr
    done = benchmark(run, "celebdf2", root, tmp_path / "out", check=False)
    assert "it has no Celeb-synthesis or Celeb-real; it looks like ffpp" in done.stderr
    done = benchmark(run, "ffpp", root, tmp_path / "out", "--manipulation", "Deepfake", check=False)
    assert "unknown manipulations Deepfake; there are Deepfakes, Face2Face, FaceSwap, NeuralTextures" in done.stderr
    done = benchmark(run, "ffp", root, tmp_path / "out", check=False)
    assert done.returncode == 2
    assert all(name in done.stderr for name in LAYOUTS)
    done = benchmark(run, "ffpp", root, tmp_path / "out", "--compression", "c40", check=False)
    assert "none of the 700 videos is below" in done.stderr
    assert "is the copy's compression c40?" in done.stderr
    put(clips[0], tmp_path / "own/real/a.mp4")
    done = benchmark(run, "folder", tmp_path / "own", tmp_path / "out", "--split", "val", check=False)
    assert "no video is in the split val; there are test" in done.stderr


def crops_tree(root, frames):
    """Crops of 256 px in DeepfakeBench's layout, ten per video, and its JSON with a backslash in each path."""
    content = {"FaceForensics++": {"FF-real": {"test": {"c23": {}}}, "FF-DF": {"test": {"c23": {}, "c40": {}}}}}
    for number, (kind, name) in enumerate((("FF-real", "000"), ("FF-real", "001"), ("FF-DF", "000_003"))):
        folder = "original_sequences/youtube" if kind == "FF-real" else "manipulated_sequences/Deepfakes"
        paths = [f"FaceForensics++/{folder}/c23/frames/{name}/{3 * index}.png" for index in range(10)]
        for index, path in enumerate(paths):
            crop = cv2.resize(frames[(index + number) % 12][60:300, 200:440], (256, 256))
            crop = cv2.GaussianBlur(crop, (0, 0), 0.1 + number)
            cv2.imwrite(str(root_file(root, path)), crop)
        shuffled = [path.replace("/", "\\") for path in reversed(paths)]
        content["FaceForensics++"][kind]["test"]["c23"][name] = {"label": kind, "frames": shuffled}
    content["FaceForensics++"]["FF-DF"]["test"]["c23"]["001_002"] = {"label": "FF-DF", "frames": []}
    content["FaceForensics++"]["FF-DF"]["val"] = {"label": "FF-DF", "frames": ["nameless.png"]}  # as in DFDC.json
    content["FaceForensics++"]["FF-DF"]["test"]["c40"]["000_003"] = {"label": "FF-DF", "frames": ["absent.png"]}
    (root / "FaceForensics++.json").write_text(json.dumps(content))
    return root


def test_image_members_score_precropped_faces_of_deepfakebench(run, frames, tmp_path):
    root, output = crops_tree(tmp_path / "rgb", frames), tmp_path / "out"
    run("-m", "quality.benchmark", "deepfakebench", "--root", root, "--output", output, "--rounds", "5", "--protocols")
    rows = {row["key"]: row for row in rows_of(output)}
    assert {key: (row["label"], row["status"]) for key, row in rows.items()} == {
        "FaceForensics++/FF-real/test/c23/000": ("0", "ok"),
        "FaceForensics++/FF-real/test/c23/001": ("0", "ok"),
        "FaceForensics++/FF-DF/test/c23/000_003": ("1", "ok"),
    }
    (fake,) = (item for item in read_items("deepfakebench", root, Variant()) if item.label)
    assert (fake.original, fake.manipulation, fake.split) == ("FaceForensics++/000", "FF-DF", "test")
    networks = load_fastest(SHIPPED, MODELS, "cpu")
    expected = []  # two groups of five crops, in the order of the frames' numbers
    for start in (0, 5):
        crops = [cv2.imread(str(root / path))[..., ::-1] for path in fake.frames[start : start + 5]]
        assert [int(path.rpartition("/")[2][:-4]) for path in fake.frames] == list(range(0, 30, 3))
        groups = []
        for name, member in SHIPPED.items():
            (logits,) = networks.logits(
                name, [np.stack([resize(np.ascontiguousarray(crop), member.size) for crop in crops])]
            )
            groups.append(float(fake_probability(logits.mean(axis=0))))
        expected.append(np.mean(groups))
    details = {row["filename"]: row for row in map(json.loads, (output / "submission.jsonl").read_text().splitlines())}
    assert details[fake.key]["each_face"][0]["groups"] == pytest.approx(expected, abs=1e-5)
    (tmp_path / "theirs.py").write_text("import os\ndef predict(path):\n    return 1 / len(os.listdir(path))\n")
    benchmark(run, "deepfakebench", root, tmp_path / "theirs", "--rounds", "5", "--detector", tmp_path / "theirs.py")
    counts = {item.key: len(item.frames) for item in read_items("deepfakebench", root, Variant()) if item.key in rows}
    assert {row["key"]: float(row["score"]) for row in rows_of(tmp_path / "theirs")} == {
        key: pytest.approx(1 / count) for key, count in counts.items()
    }, "an external detector gets the folder of a video's crops"
    (root / fake.frames[2]).write_bytes(b"damaged")
    (root / fake.frames[3]).unlink()
    benchmark(run, "deepfakebench", root, output, "--rounds", "5", check=False)
    details = {row["filename"]: row for row in map(json.loads, (output / "submission.jsonl").read_text().splitlines())}
    row = details[fake.key]
    assert row["status"] == "ok"
    assert row["notes"] == ["1 of 10 crops are missing", "1 of 10 crops are damaged"]
    for frame in fake.frames[4:]:
        (root / frame).unlink()
    done = benchmark(run, "deepfakebench", root, output, "--rounds", "5", check=False)
    assert done.returncode == 1, "the list is incomplete"
    assert {row["key"]: row["status"] for row in rows_of(output)}[fake.key] == "too_few_frames"
    assert len(findings(output)["missing", "files in the list are not on disk"]) == 7
    done = benchmark(run, "deepfakebench", root, output, "--shard", "0/2", check=False)
    assert "no --shard" in done.stderr
    (root / "other.json").write_text("[]")
    assert "holds 2 JSON files" in benchmark(run, "deepfakebench", root, output, check=False).stderr
    done = benchmark(run, "deepfakebench", root, output, "--json", root / "other.json", check=False)
    assert "is not a data set of DeepfakeBench" in done.stderr


@pytest.fixture(scope="module")
def own(clips, tmp_path_factory):
    """A folder of real videos, fakes of two kinds, and a file that is not a video."""
    root = tmp_path_factory.mktemp("own")
    for number, clip in enumerate(clips):
        kind = "real" if number < 6 else ("fake/soft", "fake/softer")[number % 2]
        put(clip, root / kind / f"v{number}.mp4")
    (root / "fake/soft/broken.mp4").write_text("not a video\n" * 99)
    return root


@pytest.fixture(scope="module")
def whole(own, tmp_path_factory):
    """The output of an undisturbed benchmark of that folder."""
    output = tmp_path_factory.mktemp("whole")
    process = launch("-m", "quality.benchmark", "folder", "--root", own, "--output", output, "--rounds", 50)
    _, errors = process.communicate()
    assert process.returncode == 1, errors  # one video could not be read
    return output


def rows_of(output):
    with (output / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_measures_are_those_of_scikit_learn(whole):
    report = json.loads((whole / "benchmark.json").read_text())
    rows = rows_of(whole)
    jsonschema.validate(report, strict(schema("benchmark")))
    assert len(rows) == 13
    assert {row["status"] for row in rows} == {"ok", "unsupported"}
    assert [row["score"] for row in rows if row["status"] != "ok"] == [""]

    def columns(chosen):
        labels = np.array([int(row["label"]) for row in chosen])
        return labels, np.array([float(row["score"] or 0.5) for row in chosen])

    labels, scores = columns(rows)
    overall = report["overall"]
    assert overall["video_auc"][0] == pytest.approx(roc_auc_score(labels, scores))
    assert overall["average_precision"][0] == pytest.approx(average_precision_score(labels, scores))
    assert overall["log_loss"][0] == pytest.approx(log_loss(labels, scores))
    assert overall["accuracy"][0] == pytest.approx(np.mean((scores > 0.5) == labels))
    highest_real = scores[labels == 0].max()
    assert overall["recall_at_1_percent"][0] == pytest.approx(np.mean(scores[labels == 1] > highest_real))
    for value, low, high in overall.values():
        assert low <= value <= high or math.isclose(low, high)
    scored = columns([row for row in rows if row["status"] == "ok"])
    assert report["overall_scored"]["video_auc"][0] == pytest.approx(roc_auc_score(*scored))
    areas = {}
    for kind in ("soft", "softer"):
        part = columns([row for row in rows if "real/" in row["key"] or f"/{kind}/" in row["key"]])
        areas[kind] = roc_auc_score(*part)
        assert report["by_manipulation"][kind]["video_auc"][0] == pytest.approx(areas[kind])
    assert list(report["by_manipulation"]) == sorted(areas, key=areas.get)
    assert report["coverage"] == {"real": {"ok": 6}, "soft": {"ok": 3, "unsupported": 1}, "softer": {"ok": 3}}
    details = [json.loads(line) for line in (whole / "submission.jsonl").read_text().splitlines()]
    frames = [
        (int(row["filename"].startswith("fake")), score)
        for row in details
        if row["status"] == "ok"
        for score in row["each_face"][0]["groups"]
    ]
    assert len(frames) == 12, "five frames are one group"
    assert overall["frame_auc"][0] == pytest.approx(roc_auc_score(*zip(*frames, strict=True)))
    assert report["run"]["members"]["lite0"]["sha256"]
    assert "soft" in (whole / "benchmark.md").read_text()
    assert (whole / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_every_kind_of_score_file_holds_the_same_scores(whole, run, own, tmp_path):
    """They also give the same measures."""
    kaggle, ours, gend = (read_score_file(whole / name) for name in ("submission.csv", "scores.csv", "scores_gend.csv"))
    assert ours.keys() == kaggle.keys() == gend.keys()
    for name, score in ours.items():
        assert kaggle[name] == pytest.approx(0.5 if score is None else score, abs=1e-8)
        assert gend[name] == pytest.approx(kaggle[name], abs=1e-8)
    truth = whole / "truth.csv"
    printed = [
        run("-m", "quality.evaluate", whole / name, truth, "--output", tmp_path / name, "--rounds", "5").stdout
        for name in ("scores.csv", "scores_gend.csv")
    ]
    assert printed[0].splitlines()[:5] == printed[1].splitlines()[:5]
    (tmp_path / "odd.csv").write_text("name,value\na,1\n")
    with pytest.raises(BadInputError, match=r"not one of: filename,label; key,score; files,prob_class_1"):
        read_score_file(tmp_path / "odd.csv")
    (tmp_path / "bad.csv").write_text("files,labels,prob_class_0,prob_class_1\na,1,0,1.5\n")
    with pytest.raises(BadInputError, match=r"bad\.csv:2: a comes twice or has no score"):
        read_score_file(tmp_path / "bad.csv")


def labels_in(details):
    return {row["filename"]: row["label"] for row in map(json.loads, details.read_text().splitlines())}


@pytest.mark.slow
def test_all_shards_together_give_the_results_of_one_run(whole, own, run, tmp_path):
    for shard in ("0/2", "1/2"):
        benchmark(run, "folder", own, tmp_path, "--shard", shard)
    assert not (tmp_path / "benchmark.json").exists()
    benchmark(run, "folder", own, tmp_path, "--rounds", "50", check=False)
    for name in ("scores.csv", "submission.csv", "benchmark.md"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    done = benchmark(run, "folder", own, tmp_path, "--members", "lite0", check=False)
    assert "were scored with other members, weights or options" in done.stderr
    repaired = tmp_path / "repaired"
    shutil.copytree(own, repaired)
    benchmark(run, "folder", repaired, tmp_path / "again", "--shard", "0/1")
    shutil.copy(own / "fake/soft/v6.mp4", repaired / "fake/soft/broken.mp4")
    before = labels_in(tmp_path / "again/submission-0-of-1.jsonl")
    shutil.copyfile(repaired / "real/v2.mp4", repaired / "real/v0.mp4")
    benchmark(run, "folder", repaired, tmp_path / "again", "--rounds", "2")
    assert {row["status"] for row in rows_of(tmp_path / "again")} == {"ok"}, "a repaired video is scored again"
    after = labels_in(tmp_path / "again/submission.jsonl")
    assert after["real/v0.mp4"] == before["real/v2.mp4"] != before["real/v0.mp4"], "and so is a replaced one"
    assert after["real/v1.mp4"] == before["real/v1.mp4"]
    done = benchmark(run, "folder", own, tmp_path / "again", check=False)
    assert "holds a benchmark of other videos (root " in done.stderr


@pytest.mark.slow
def test_a_killed_benchmark_goes_on(whole, own, run, tmp_path):
    process = launch("-m", "quality.benchmark", "folder", "--root", own, "--output", tmp_path, "--workers", 1)
    ledger = tmp_path / "submission.partial.jsonl"
    interrupt(process, lambda: ledger.is_file() and ledger.read_bytes().count(b"\n") > 3, signal.SIGKILL)
    process.communicate()
    done = benchmark(run, "folder", own, tmp_path, "--workers", "1", "--rounds", "50", check=False)
    assert done.returncode == 1
    assert (tmp_path / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    assert not ledger.exists()


def test_max_videos_chooses_evenly(run, own, tmp_path):
    done = benchmark(run, "folder", own, tmp_path, "--check", "--max-videos", "6", check=False)
    assert "test: 3 real, 2 soft, 1 softer" in done.stdout
