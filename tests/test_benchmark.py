"""The field's benchmarks: small trees of each layout, their check, their table, and their scores as they travel."""

import csv
import json
import math
import shutil
import signal
import subprocess

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from common.errors import BadInputError
from common.images import resize
from inference.members import MODELS, SHIPPED
from inference.scoring import fake_probability
from quality.score_files import read_score_file
from quality.sets.layouts import LAYOUTS, SPLITS, How, read_items
from shipped.crops import load_fastest
from tests.conftest import GIVING_WAY, ROOT, wait_for
from tests.strange import encode

PAIRS = json.loads((SPLITS / "ffpp_test.json").read_text())


@pytest.fixture(scope="module")
def forms(frames, tmp_path_factory):
    """Twelve short real clips, all different: the first six sharp, the others blurred as fakes often are."""
    root = tmp_path_factory.mktemp("forms")
    made = []
    for number in range(12):
        pictures = [cv2.resize(image, (480, 270)) for image in frames[number % 6 : number % 6 + 5]]
        if number >= 6:
            pictures = [cv2.GaussianBlur(image, (0, 0), 1.5) for image in pictures]
        made.append(encode(root / f"{number}.mp4", pictures))
    return made


def put(form, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(form.read_bytes())
    return path


def benchmark(run, kind, root, output, *more, check=True):
    return run("-m", "quality.benchmark", kind, "--root", root, "--output", output, *more, check=check)


def findings(output):
    return {(one["kind"], one["what"]): one["keys"] for one in json.loads((output / "check.json").read_text())}


def ffpp_tree(root, forms):
    """Two official pairs with their fakes by two manipulations, as FaceForensics++ lies on disk."""
    for number, (one, other) in enumerate(PAIRS[:2]):
        for at, name in enumerate((one, other)):
            put(forms[2 * number + at], root / f"original_sequences/youtube/c23/videos/{name}.mp4")
        for kind in ("Deepfakes", "Face2Face"):
            for at, name in enumerate((f"{one}_{other}", f"{other}_{one}")):
                place = root / f"manipulated_sequences/{kind}/c23/videos/{name}.mp4"
                put(forms[6 + 2 * number + at], place).write_bytes(place.read_bytes() + kind.encode())
    return root


def test_the_check_of_faceforensics_names_what_is_wrong(run, forms, frames, tmp_path):
    root, output = ffpp_tree(tmp_path / "ff", forms), tmp_path / "out"
    (one, other), (third, fourth) = PAIRS[:2]
    videos = "manipulated_sequences/Deepfakes/c23/videos"
    (root / f"{videos}/{one}_{other}.mp4").unlink()
    (root / f"{videos}/{other}_{one}.mp4").write_bytes(b"")
    (root / f"{videos}/{third}_{fourth}.mp4").write_text("no video\n" * 99)
    put(forms[0], root / f"{videos}/999_998_old.mp4")
    put(forms[0], root / "manipulated_sequences/Deepfakes/masks/videos" / f"{one}_{other}.mp4")
    put(forms[0], root / f"manipulated_sequences/Face2Face/c23/videos/{one}_{other}.mp4")  # the original itself
    narrow = [cv2.resize(image, (464, 270)) for image in frames[:5]]  # 480 is a multiple of 16: this is no such cut
    encode(root / f"manipulated_sequences/Face2Face/c23/videos/{third}_{fourth}.mp4", narrow)
    done = benchmark(run, "ffpp", root, output, "--check", check=False)
    assert done.returncode == 1
    found = findings(output)
    missing = found["missing", "of the list are not on disk"]
    assert f"{videos}/{one}_{other}.mp4" in missing
    assert len(missing) == 2 * 68 + 4 * 140 - 8 + 1, "all but the two pairs of two manipulations, and one of these"
    assert found["empty", "files have no content"] == [f"{videos}/{other}_{one}.mp4"]
    assert found["unreadable", "files are no readable video"] == [f"{videos}/{third}_{fourth}.mp4"]
    assert found["extra", "videos are not of the set"] == [f"{videos}/999_998_old.mp4"]
    assert sorted(found["content", "files have the content of one of the other label"]) == [
        f"manipulated_sequences/Face2Face/c23/videos/{one}_{other}.mp4",
        f"original_sequences/youtube/c23/videos/{one}.mp4",
    ]
    assert not any(kind in ("leak", "width", "rate", "label") for kind, _ in found)
    assert f"python download-FaceForensics.py {root} -d all -c c23 -t videos" in done.stdout
    assert not (output / "submission.csv").exists()


def test_the_check_of_faceforensics_knows_its_oddities(run, forms, frames, tmp_path):
    root, output = tmp_path / "ff", tmp_path / "out"
    (one, other) = PAIRS[0]
    wide = [cv2.resize(image, (486, 270)) for image in frames[:5]]
    encode(root_file(root, f"original_sequences/youtube/c23/videos/{one}.mp4"), wide)
    put(forms[6], root / f"manipulated_sequences/Deepfakes/c23/videos/{one}_{other}.mp4")  # 480 pixels wide
    slow = root_file(root, f"manipulated_sequences/FaceSwap/c23/videos/{one}_{other}.mp4")
    encode(slow, wide, times=[0, 2, 4, 6, 8])
    benchmark(run, "ffpp", root, output, "--check", check=False)
    found = findings(output)
    assert found["width", "fakes are cut to a width that is a multiple of 16"] == [
        f"manipulated_sequences/Deepfakes/c23/videos/{one}_{other}.mp4"
    ]
    assert found["rate", "fakes have another frame rate than their original"] == [
        f"manipulated_sequences/FaceSwap/c23/videos/{one}_{other}.mp4"
    ]


def root_file(root, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    return root / name


def test_a_list_that_is_turned_round_and_a_leak_are_seen(run, forms, tmp_path):
    root, output = tmp_path / "celeb", tmp_path / "out"
    put(forms[0], root / "Celeb-real/id0_0000.mp4")
    put(forms[1], root / "YouTube-real/00001.mp4")
    put(forms[6], root / "Celeb-synthesis/id0_id1_0000.mp4")
    put(forms[7], root / "Celeb-synthesis/id0_id2_0000.mp4")
    (root / "List_of_testing_videos.txt").write_text(
        "0 Celeb-real/id0_0000.mp4\n0 YouTube-real/00001.mp4\n1 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    assert benchmark(run, "celebdf1", root, output, "--check", check=False).returncode == 1
    found = findings(output)
    assert len(found["label", "labels of the list contradict the folder"]) == 3
    assert found["leak", "originals are in two splits"] == ["Celeb-real/id0_0000"]
    assert found["leak", "identities are in two splits"] == ["id0"]
    (root / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00001.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    (root / "Celeb-synthesis/id0_id2_0000.mp4").rename(root / "Celeb-synthesis/id3_id2_0000.mp4")
    for shard in ([], ["--shard", "0/2"]):
        done = benchmark(run, "celebdf1", root, output, "--check", *shard)
        assert "the list is whole" in done.stdout
        assert findings(output) == {}
        (output / "check.json").unlink()
    (root / "List_of_testing_videos.txt").unlink()
    with pytest.raises(BadInputError, match=r"List_of_testing_videos\.txt is missing"):
        read_items("celebdf1", root, How())
    assert sum(item.split == "test" for item in read_items("celebdf2", root, How())) == 518


def test_paths_become_labels_manipulations_originals_and_splits(tmp_path, forms):
    def known(kind, root):
        return {
            item.key: (item.label, item.manipulation, item.original, item.identities, item.split)
            for item in read_items(kind, root, How())
        }

    root = tmp_path / "dfd"
    real = "original_sequences/actors/c23/videos/01__exit_phone_room.mp4"
    fake = "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4"
    for key in (real, fake, "original_sequences/actors/c40/videos/01__exit_phone_room.mp4"):
        put(forms[0], root / key)
    assert known("dfd", root) == {
        real: (0, "", "01__exit_phone_room", ("01",), "test"),
        fake: (1, "DeepFakeDetection", "01__exit_phone_room", ("01", "02"), "test"),
    }
    root = tmp_path / "celeb3"
    put(forms[0], root / "Celeb-real/id3_0004.mp4")
    put(forms[0], root / "Celeb-synthesis/FaceSwap/SimSwap/id3_id5_0004.mp4")
    (root / "List_of_testing_videos.txt").write_text("0 Celeb-synthesis/FaceSwap/SimSwap/id3_id5_0004.mp4\n")
    assert known("celebdf3", root) == {
        "Celeb-real/id3_0004.mp4": (0, "", "Celeb-real/id3_0004", ("id3",), "train"),
        "Celeb-synthesis/FaceSwap/SimSwap/id3_id5_0004.mp4": (
            *(1, "SimSwap", "Celeb-real/id3_0004"), ("id3", "id5"), "test",
        ),
    }  # fmt: skip
    root = tmp_path / "celeb2"  # as DeepfakeBench wants it, and a list that knows nothing of it
    put(forms[0], root / "Celeb-real/videos/id3_0004.mp4")
    put(forms[0], root / "Celeb-synthesis/videos/id3_id5_0004.mp4")
    (root / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id3_0004.mp4\n0 Celeb-synthesis/id3_id5_0004.mp4\n1 YouTube-real/00001.mp4\n"
    )
    assert known("celebdf2", root) == {
        "Celeb-real/videos/id3_0004.mp4": (0, "", "Celeb-real/id3_0004", ("id3",), "test"),
        "Celeb-synthesis/videos/id3_id5_0004.mp4": (
            *(1, "Celeb-synthesis", "Celeb-real/id3_0004"), ("id3", "id5"), "test",
        ),
        "YouTube-real/00001.mp4": (0, "", "YouTube-real/00001", ("00001",), "test"),
    }  # fmt: skip
    root = tmp_path / "df40"
    (one, other), third = PAIRS[0], json.loads((SPLITS / "ffpp_train.json").read_text())[0][0]
    celebrity = next(
        line.split()[1] for line in (SPLITS / "celebdf_v2_test.txt").read_text().splitlines() if "Celeb-real" in line
    )[11:-4]
    for folder in (
        f"DF40/simswap/ff/frames/{one}_{other}",
        f"DF40/simswap/ff/frames/{third}_{one}",
        "DF40/mobileswap/cdf/deep/er/mobileswap/cdf/frames/id3_id5_0004",
        f"FaceForensics++/original_sequences/youtube/c23/frames/{one}",
        f"FaceForensics++/original_sequences/youtube/c40/frames/{one}",
        "FaceForensics++/original_sequences/actors/c23/frames/01__kitchen",
        f"Celeb-DF-v2/Celeb-real/frames/{celebrity}",
        "Celeb-DF-v2/YouTube-real/frames/99999",
    ):
        for number in ("9", "10"):
            root_file(root, f"{folder}/{number}.png").write_bytes(b"")
    found = {item.key: item for item in read_items("df40", root, How())}
    assert {key: (one.label, one.manipulation, one.original, one.split) for key, one in found.items()} == {
        f"DF40/simswap/ff/frames/{one}_{other}": (1, "simswap", f"ff/{one}", "test"),
        f"DF40/simswap/ff/frames/{third}_{one}": (1, "simswap", f"ff/{third}", "train"),
        "DF40/mobileswap/cdf/deep/er/mobileswap/cdf/frames/id3_id5_0004": (1, "mobileswap", "cdf/id3", "test"),
        f"FaceForensics++/original_sequences/youtube/c23/frames/{one}": (0, "", f"ff/{one}", "test"),
        f"Celeb-DF-v2/Celeb-real/frames/{celebrity}": (0, "", f"cdf/{celebrity.split('_')[0]}", "test"),
        "Celeb-DF-v2/YouTube-real/frames/99999": (0, "", "cdf/99999", "train"),
    }
    folder = f"DF40/simswap/ff/frames/{one}_{other}"
    assert found[folder].frames == (f"{folder}/9.png", f"{folder}/10.png")
    root = tmp_path / "dfdc"
    for part in (7, 35):
        entries = {
            "a.mp4": {"label": "REAL", "split": "train"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"},
        }  # fmt: skip
        file = root_file(root, f"dfdc_train_part_{part}/metadata.json")
        file.write_text(json.dumps(entries))
    root_file(root, "test/labels.csv").write_text("filename,label\nc.mp4,1\n")
    root_file(root, "test/metadata.json").write_text('{"c.mp4": {"is_fake": 1}}')  # the same again
    elsewhere = root_file(tmp_path, "elsewhere/dfdc_train_part_2/metadata.json")
    elsewhere.write_text('{"d.mp4": {"label": "REAL"}}')
    (root / "linked").symlink_to(elsewhere.parent)
    found = known("dfdc", root)
    a = "dfdc_train_part_35/a.mp4"
    assert found["dfdc_train_part_35/b.mp4"] == (1, "DFDC", a, (a,), "val")
    assert found["dfdc_train_part_7/a.mp4"][4] == "train"
    assert found["test/c.mp4"] == (1, "DFDC", "test/c.mp4", ("test/c.mp4",), "test")
    assert found["linked/d.mp4"][4] == "train"
    assert known("dfdc", root / "dfdc_train_part_35")["b.mp4"][4] == "val"
    (root / "test/metadata.json").write_text('{"c.mp4": {"is_fake": 0}}')
    with pytest.raises(BadInputError, match=r"test/c\.mp4 is listed as REAL and as FAKE"):
        read_items("dfdc", root, How())
    root = tmp_path / "dfdcp"
    entries = {
        "original_videos/12/x.mp4": {"label": "real", "set": "test", "target_id": 12},
        "method_A/12_34/y.mp4": {"label": "fake", "set": "train", "target_id": 12, "swapped_id": 34},
    }
    root_file(root, "dataset.json").write_text(json.dumps(entries))
    assert known("dfdcp", root) == {
        "original_videos/12/x.mp4": (0, "", "12", ("12",), "test"),
        "method_A/12_34/y.mp4": (1, "method_A", "12", ("12", "34"), "train"),
    }
    root = tmp_path / "csv"
    root_file(root, "labels.csv").write_text(
        "filename,label,original,manipulation\nr.mp4,0,,\ns/f.mp4,FAKE,r.mp4,wav\n"
    )
    assert known("csv", root) == {
        "r.mp4": (0, "", "r.mp4", ("r.mp4",), "test"),
        "s/f.mp4": (1, "wav", "r.mp4", ("r.mp4",), "test"),
    }
    root_file(root, "labels.csv").write_text("filename,label\n../r.mp4,0\n")
    with pytest.raises(BadInputError, match="leaves the folder"):
        read_items("csv", root, How())


def test_a_wrong_set_root_split_or_manipulation_is_one_line(run, forms, tmp_path):
    root = ffpp_tree(tmp_path / "data/ff", forms)
    done = benchmark(run, "ffpp", root.parent, tmp_path / "out", check=False)
    assert done.returncode == 2
    expected = "original_sequences/youtube or manipulated_sequences/Deepfakes"
    assert f"no FaceForensics++: it has no {expected}; {root} has" in done.stderr
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
    put(forms[0], tmp_path / "own/real/a.mp4")
    done = benchmark(run, "folder", tmp_path / "own", tmp_path / "out", "--split", "val", check=False)
    assert "no video is of the split val; there are test" in done.stderr


def crops_tree(root, frames):
    """Crops of 256 px as DeepfakeBench lays them out, ten a video, and its JSON with a backslash in each path."""
    content = {"FaceForensics++": {"FF-real": {"test": {"c23": {}}}, "FF-DF": {"test": {"c23": {}, "c40": {}}}}}
    for number, (kind, name) in enumerate((("FF-real", "000"), ("FF-real", "001"), ("FF-DF", "000_003"))):
        of = "original_sequences/youtube" if kind == "FF-real" else "manipulated_sequences/Deepfakes"
        paths = [f"FaceForensics++/{of}/c23/frames/{name}/{3 * at}.png" for at in range(10)]
        for at, path in enumerate(paths):
            crop = cv2.resize(frames[(at + number) % 12][60:300, 200:440], (256, 256))
            crop = cv2.GaussianBlur(crop, (0, 0), 0.1 + number)
            cv2.imwrite(str(root_file(root, path)), crop)
        shuffled = [path.replace("/", "\\") for path in reversed(paths)]
        content["FaceForensics++"][kind]["test"]["c23"][name] = {"label": kind, "frames": shuffled}
    content["FaceForensics++"]["FF-DF"]["test"]["c23"]["001_002"] = {"label": "FF-DF", "frames": []}
    content["FaceForensics++"]["FF-DF"]["val"] = {"label": "FF-DF", "frames": ["nameless.png"]}  # as in DFDC.json
    content["FaceForensics++"]["FF-DF"]["test"]["c40"]["000_003"] = {"label": "FF-DF", "frames": ["absent.png"]}
    (root / "FaceForensics++.json").write_text(json.dumps(content))
    return root


def test_ready_made_crops_of_deepfakebench_are_scored_by_image_members(run, frames, tmp_path):
    root, output = crops_tree(tmp_path / "rgb", frames), tmp_path / "out"
    run("-m", "quality.benchmark", "deepfakebench", "--root", root, "--output", output, "--rounds", "5", "--protocols")
    rows = {row["key"]: row for row in rows_of(output)}
    assert {key: (row["label"], row["status"]) for key, row in rows.items()} == {
        "FaceForensics++/FF-real/test/c23/000": ("0", "ok"),
        "FaceForensics++/FF-real/test/c23/001": ("0", "ok"),
        "FaceForensics++/FF-DF/test/c23/000_003": ("1", "ok"),
    }
    (fake,) = (item for item in read_items("deepfakebench", root, How()) if item.label)
    assert (fake.original, fake.manipulation, fake.split) == ("FaceForensics++/000", "FF-DF", "test")
    networks = load_fastest(SHIPPED, MODELS, "cpu")
    expected = []  # two groups of five crops, in the order of the frames' numbers
    for start in (0, 5):
        crops = [cv2.imread(str(root / path))[..., ::-1] for path in fake.frames[start : start + 5]]
        assert [int(path.rpartition("/")[2][:-4]) for path in fake.frames] == list(range(0, 30, 3))
        groups = []
        for name, member in SHIPPED.items():
            (logits,) = networks.logits(
                name, [np.stack([resize(np.ascontiguousarray(one), member.size) for one in crops])]
            )
            groups.append(float(fake_probability(logits.mean(axis=0))))
        expected.append(np.mean(groups))
    details = {row["filename"]: row for row in map(json.loads, (output / "submission.jsonl").read_text().splitlines())}
    assert details[fake.key]["each_face"][0]["groups"] == pytest.approx(expected, abs=1e-5)
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
    assert done.returncode == 1, "the list is not whole"
    assert {row["key"]: row["status"] for row in rows_of(output)}[fake.key] == "too_few_frames"
    assert len(findings(output)["missing", "of the list are not on disk"]) == 7
    done = benchmark(run, "deepfakebench", root, output, "--shard", "0/2", check=False)
    assert "no --shard" in done.stderr
    (root / "other.json").write_text("[]")
    assert "holds 2 JSON files" in benchmark(run, "deepfakebench", root, output, check=False).stderr
    done = benchmark(run, "deepfakebench", root, output, "--json", root / "other.json", check=False)
    assert "is no data set of DeepfakeBench" in done.stderr


@pytest.fixture(scope="module")
def own(forms, tmp_path_factory):
    """A folder of reals and of fakes of two kinds, and a file that is no video."""
    root = tmp_path_factory.mktemp("own")
    for number, form in enumerate(forms):
        kind = "real" if number < 6 else ("fake/soft", "fake/softer")[number % 2]
        put(form, root / kind / f"v{number}.mp4")
    (root / "fake/soft/broken.mp4").write_text("no video\n" * 99)
    return root


@pytest.fixture(scope="module")
def whole(own, tmp_path_factory):
    """The output of a benchmark of it that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole")
    command = [
        *GIVING_WAY[3:],
        "-m",
        "quality.benchmark",
        "folder",
        "--root",
        own,
        "--output",
        output,
        "--rounds",
        "50",
    ]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # one video could not be read
    return output


def rows_of(output):
    with (output / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_scikit_learns(whole):
    report = json.loads((whole / "benchmark.json").read_text())
    rows = rows_of(whole)
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


def test_scores_travel(whole, run, own, tmp_path):
    """Each kind of file gives the same scores, and is measured the same."""
    kaggle, ours, gend = (read_score_file(whole / name) for name in ("submission.csv", "scores.csv", "scores_gend.csv"))
    assert ours.keys() == kaggle.keys() == gend.keys()
    for name, score in ours.items():
        assert kaggle[name] == pytest.approx(0.5 if score is None else score, abs=1e-8)
        assert gend[name] == pytest.approx(kaggle[name], abs=1e-8)
    truth = whole / "truth.csv"
    said = [run("-m", "quality.evaluate", whole / name, truth, "--output", tmp_path / name, "--rounds", "5").stdout
            for name in ("scores.csv", "scores_gend.csv")]  # fmt: skip
    assert said[0].splitlines()[:5] == said[1].splitlines()[:5]
    (tmp_path / "odd.csv").write_text("name,value\na,1\n")
    with pytest.raises(BadInputError, match=r"not one of: filename,label; key,score; files,prob_class_1"):
        read_score_file(tmp_path / "odd.csv")
    (tmp_path / "bad.csv").write_text("files,labels,prob_class_0,prob_class_1\na,1,0,1.5\n")
    with pytest.raises(BadInputError, match=r"bad\.csv:2: a stands there twice or has no score"):
        read_score_file(tmp_path / "bad.csv")


def open_rows(stem):
    return stem.with_name(f"{stem.name}.jsonl").read_text().splitlines()


@pytest.mark.slow
def test_shards_together_are_one_run(whole, own, run, tmp_path):
    for shard in ("0/2", "1/2"):
        benchmark(run, "folder", own, tmp_path, "--shard", shard)
    assert not (tmp_path / "benchmark.json").exists()
    benchmark(run, "folder", own, tmp_path, "--rounds", "50", check=False)
    for name in ("scores.csv", "submission.csv", "benchmark.md"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    done = benchmark(run, "folder", own, tmp_path, "--members", "lite0", check=False)
    assert "were scored with other members, weights or options" in done.stderr
    mended = tmp_path / "mended"
    shutil.copytree(own, mended)
    benchmark(run, "folder", mended, tmp_path / "again", "--shard", "0/1")
    shutil.copy(own / "fake/soft/v6.mp4", mended / "fake/soft/broken.mp4")
    before = {row["filename"]: row["label"] for row in map(json.loads, open_rows(tmp_path / "again/submission-0-of-1"))}
    shutil.copyfile(mended / "real/v2.mp4", mended / "real/v0.mp4")
    benchmark(run, "folder", mended, tmp_path / "again", "--rounds", "2")
    assert {row["status"] for row in rows_of(tmp_path / "again")} == {"ok"}, "what was mended is scored anew"
    after = {row["filename"]: row["label"] for row in map(json.loads, open_rows(tmp_path / "again/submission"))}
    assert after["real/v0.mp4"] == before["real/v2.mp4"] != before["real/v0.mp4"], "so is what was replaced"
    assert after["real/v1.mp4"] == before["real/v1.mp4"]
    done = benchmark(run, "folder", own, tmp_path / "again", check=False)
    assert "holds a benchmark of other videos (root " in done.stderr


@pytest.mark.slow
def test_a_killed_benchmark_goes_on(whole, own, run, tmp_path):
    command = [*GIVING_WAY, "-m", "quality.benchmark", "folder", "--root", own, "--output", tmp_path, "--workers", "1"]
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ledger = tmp_path / "submission.partial.jsonl"
    wait_for(lambda: ledger.is_file() and ledger.read_bytes().count(b"\n") > 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = benchmark(run, "folder", own, tmp_path, "--workers", "1", "--rounds", "50", check=False)
    assert done.returncode == 1
    assert (tmp_path / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    assert not ledger.exists()


def test_videos_are_chosen_evenly(run, own, tmp_path):
    done = benchmark(run, "folder", own, tmp_path, "--check", "--max-videos", "6", check=False)
    assert "test: 3 real, 2 soft, 1 softer" in done.stdout
