"""Sets of ready-made crops for tests: archives or folders of pictures, and the tables that name them."""

import csv
import io
import tarfile

import cv2
import numpy as np


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
