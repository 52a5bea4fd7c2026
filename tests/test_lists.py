"""Stage 4: the eight lists, from metadata.json and info.json that the tests write."""

import json
import math
import random

import pytest

from make_lists import SIDES, drawn_for_validation


def add(root, part, name, label, original=None, frames=300, faces=1):
    """A video in metadata.json, with its info.json."""
    path = root / "videos" / part / "metadata.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = json.loads(path.read_text()) if path.exists() else {}
    metadata[f"{name}.mp4"] = {"label": label, "split": "train"} | ({"original": f"{original}.mp4"} if original else {})
    path.write_text(json.dumps(metadata))
    info = root / "faces" / part / name / "info.json"
    info.parent.mkdir(parents=True)
    info.write_text(json.dumps({"frames": frames, "tracks": [{}] * faces}))


def arguments(root, *more):
    return ("make_lists.py", "--videos", root / "videos", "--faces", root / "faces", "--lists", root / "lists", *more)


def lines(root, name):
    return (root / "lists" / f"{name}.txt").read_text().splitlines()


@pytest.fixture
def tree(tmp_path):
    add(tmp_path, "dfdc_train_part_0", "real", "REAL", frames=301, faces=4)
    add(tmp_path, "dfdc_train_part_0", "fake", "FAKE", "real", frames=299)
    add(tmp_path, "dfdc_train_part_35", "other", "REAL", frames=300, faces=4)
    add(tmp_path, "dfdc_train_part_35", "nobody", "FAKE", "other", faces=0)
    add(tmp_path, "test", "hidden", "FAKE", frames=299, faces=2)
    (tmp_path / "public.csv").write_text("filename,label\nhidden.mp4,0.5\n")
    (tmp_path / "videos/stray.txt").touch()
    (tmp_path / "videos/empty_part").mkdir()
    return tmp_path


def test_the_eight_lists(run, tree):
    done = run(*arguments(tree, "--public-val", tree / "public.csv"))
    assert "make_lists: 5 videos done, 0 failed" in done.stdout
    assert len(list((tree / "lists").glob("*.txt"))) == 8

    def track(part, name, face, rest, suffix="png"):
        return f"{part}/{name}/frame%d_face{face}.{suffix} 1 {rest}"

    p0, p35 = "dfdc_train_part_0", "dfdc_train_part_35"
    assert sorted(lines(tree, "val_30-39_train_alignedface_png")) == sorted(
        [track(p0, "real", face, "30 11 0") for face in (1, 2, 3, 4)] + [track(p0, "fake", 1, "30 10 1")]
    )
    # At most two faces for validation.
    assert sorted(lines(tree, "val_30-39_val_alignedface_png")) == [
        track(p35, "other", face, "30 10 0") for face in (1, 2)
    ]
    assert not any("hidden" in line for line in lines(tree, "trainval_alignedface_png"))
    assert track(p0, "real", 4, "1 301 0", "jpg") in lines(tree, "trainval_alignedface_jpg")
    # The public lists round down, the others round up.
    assert sorted(lines(tree, "publicval_alignedface_png")) == [
        track("test", "hidden", face, "30 9 1") for face in (1, 2)
    ]
    assert sorted(lines(tree, "publicval_sf_alignedface_jpg")) == [
        track("test", "hidden", face, "1 299 1", "jpg") for face in (1, 2)
    ]
    both = lines(tree, "all_videos_train_alignedface_jpg") + lines(tree, "all_videos_val_sf_alignedface_jpg")
    assert sorted(both) == sorted(
        [track(p0, "real", face, "1 301 0", "jpg") for face in (1, 2, 3)]
        + [track(p0, "fake", 1, "1 299 1", "jpg")]
        + [track(p35, "other", face, "1 300 0", "jpg") for face in (1, 2, 3)]
    )


def test_order_is_shuffled_the_same_each_time(run, tmp_path):
    for number in range(50):
        add(tmp_path, "part_0", f"v{number:02}", "REAL")
    run(*arguments(tmp_path))
    first = lines(tmp_path, "trainval_alignedface_png")
    run(*arguments(tmp_path))
    assert lines(tmp_path, "trainval_alignedface_png") == first != sorted(first)
    run(*arguments(tmp_path, "--seed", 1))
    assert lines(tmp_path, "trainval_alignedface_png") != first


def test_an_original_on_both_sides_is_refused_by_name(run, tmp_path):
    add(tmp_path, "part_1", "source", "REAL")
    add(tmp_path, "part_30", "fake", "FAKE", "source")
    done = run(*arguments(tmp_path), check=False)
    assert done.returncode == 2
    assert "val_30-39_val_alignedface_png share 1 originals: source" in done.stderr
    assert not (tmp_path / "lists").exists()


def test_a_public_video_takes_its_original_out_of_trainval(run, tree):
    add(tree, "dfdc_train_part_0", "sibling", "FAKE", "hidden")
    (tree / "public.csv").write_text("\ufefffilename,label\nhidden.mp4,0.5\n", encoding="utf-8")  # as Excel writes it
    run(*arguments(tree, "--public-val", tree / "public.csv"))
    assert not any("sibling" in line or "hidden" in line for line in lines(tree, "trainval_alignedface_jpg"))
    assert any("sibling" in line for line in lines(tree, "val_30-39_train_alignedface_png"))


def test_a_missing_or_malformed_info_is_named_and_the_rest_is_listed(run, tree):
    (tree / "faces/dfdc_train_part_0/fake/info.json").unlink()
    (tree / "faces/test/hidden/info.json").write_text("{")
    done = run(*arguments(tree), check=False)
    assert done.returncode == 1
    assert "3 videos done, 2 failed" in done.stdout
    assert "fake/info.json is missing: its faces are not cut yet" in done.stderr
    assert "hidden/info.json: malformed" in done.stderr
    assert len(lines(tree, "val_30-39_train_alignedface_png")) == 4


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("{", "metadata.json"),
        ("[]", "is not a map"),
        ('{"../../x.mp4": {"label": "REAL"}}', "unsafe name"),
        ('{"a/x.mp4": {"label": "REAL"}}', "not a plain file name"),
    ],
)
def test_bad_metadata_is_refused(run, tree, metadata, complaint):
    (tree / "videos/dfdc_train_part_0/metadata.json").write_text(metadata)
    done = run(*arguments(tree), check=False)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_all_videos_split_has_the_recorded_odds():
    wanted = {1: 0.65, 2: 0.44, 3: 0.21, 4: 0.10, 5: 0.04}
    for fakes, probability in wanted.items():
        drawn = sum(drawn_for_validation(f"original{number}", fakes, seed=0) for number in range(4000)) / 4000
        assert drawn == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / 4000))
    assert not any(drawn_for_validation(f"original{number}", 8, seed=0) for number in range(4000))


def test_no_original_sits_on_both_sides_of_any_split(run, tmp_path):
    choose = random.Random(0)
    for number in range(60):
        part = f"part_{choose.randrange(50)}"
        add(tmp_path, part, f"real{number}", "REAL")
        for fake in range(choose.randrange(9)):
            add(tmp_path, part, f"fake{number}_{fake}", "FAKE", f"real{number}")
    run(*arguments(tmp_path))
    for sides in SIDES:
        originals = [
            {line.split("/")[1].split("_")[0].strip("realfk") for line in lines(tmp_path, name)} for name in sides
        ]
        assert not originals[0] & originals[1]
    assert lines(tmp_path, "all_videos_val_sf_alignedface_jpg")
    assert lines(tmp_path, "all_videos_train_alignedface_jpg")


# Fakes without an original


@pytest.fixture
def orphans(tmp_path):
    """Thirty persons in four fakes each, without originals, in a part that trains and one that validates."""
    for number in range(30):
        for fake in range(4):
            part = "part_0" if number % 2 else "part_35"
            add(tmp_path, part, f"f{number}_{fake}", "FAKE", ("", "gone")[fake % 2] or None)
        add(tmp_path, "part_1", f"r{number}", "REAL")
    return tmp_path


def persons_on(root, name):
    videos = [line.split("/")[1] for line in lines(root, name)]
    return {video.split("_")[0] for video in videos if video.startswith("f")}


def test_orphans_are_refused_by_number_and_name(run, orphans):
    done = run(*arguments(orphans), check=False)
    assert done.returncode == 2
    assert "120 fakes have no original in any metadata.json, such as part_0/f11_0, " in done.stderr
    assert "--orphans FILE" in done.stderr
    assert not (orphans / "lists").exists()


def test_orphans_that_are_allowed_are_all_on_the_training_side(run, orphans):
    done = run(*arguments(orphans, "--allow-orphans"))
    assert "120 fakes have no original in any metadata.json" in done.stdout
    for train, val in SIDES[0], SIDES[2]:
        assert len(persons_on(orphans, train)) == 30
        assert persons_on(orphans, val) == set()
    assert any("/r" in line for line in lines(orphans, "all_videos_val_sf_alignedface_jpg"))


def test_persons_of_orphans_stay_on_one_side(run, orphans):
    rows = [f"f{number}_{fake}.mp4,person {number}" for number in range(30) for fake in range(4)]
    table = orphans / "persons.csv"
    table.write_text("\n".join(["filename,person", *rows[1:]]) + "\n")
    refused = run(*arguments(orphans, "--orphans", table), check=False)
    assert (
        refused.returncode,
        "1 fakes have no original in any metadata.json, such as part_35/f0_0:" in refused.stderr,
    ) == (2, True)
    table.write_text("\n".join(["filename,person", *rows]) + "\n")
    run(*arguments(orphans, "--orphans", table))
    for train, val in SIDES[0], SIDES[2]:
        assert persons_on(orphans, train)
        assert persons_on(orphans, val)
        assert not persons_on(orphans, train) & persons_on(orphans, val)
    table.write_text("name,person\n")
    wrong = run(*arguments(orphans, "--orphans", table), check=False)
    assert (wrong.returncode, "has no column 'filename'" in wrong.stderr) == (2, True)


def test_a_fake_stays_with_its_original_whoever_has_a_person(run, tmp_path):
    """The table names persons of real videos and of an orphan. Any other fake stays with its original despite a row."""
    for number in range(30):
        add(tmp_path, "part_0", f"r{number}", "REAL")
        add(tmp_path, "part_0", f"f{number}", "FAKE", f"r{number}")
    add(tmp_path, "part_0", "f30", "FAKE")
    rows = [f"r{number}.mp4,person {number}" for number in range(30)] + ["f30.mp4,person 3", "f7.mp4,another"]
    (tmp_path / "persons.csv").write_text("\n".join(["filename,person", *rows]) + "\n")
    run(*arguments(tmp_path, "--orphans", tmp_path / "persons.csv"))
    train, val = (lines(tmp_path, name) for name in SIDES[2])
    numbers = [{line.split("/")[1].strip("rf").replace("30", "3") for line in side} for side in (train, val)]
    assert all(numbers)
    assert not numbers[0] & numbers[1]
    (tmp_path / "persons.csv").write_bytes("filename,person\nf30.mp4,André\n".encode("latin-1"))
    wrong = run(*arguments(tmp_path, "--orphans", tmp_path / "persons.csv"), check=False)
    assert (wrong.returncode, "persons.csv is not UTF-8" in wrong.stderr) == (2, True)


def test_a_public_video_needs_no_original(run, tree):
    run(*arguments(tree, "--public-val", tree / "public.csv"))
    assert any("hidden" in line for line in lines(tree, "publicval_alignedface_png"))


# Odd rows


@pytest.mark.parametrize(
    ("file", "entry", "complaint"),
    [
        ("odd.mp4", {"label": "REAL", "original": math.nan}, "the original of 'odd.mp4' is nan, not a name"),
        (
            "odd.mp4",
            {"label": "FAKE", "original": ["real.mp4"]},
            "the original of 'odd.mp4' is ['real.mp4'], not a name",
        ),
        ("odd.mp4", {"label": "FAKE", "original": {"a": 1}}, "the original of 'odd.mp4' is {'a': 1}, not a name"),
        ("odd.mp4", {"label": ["REAL"]}, "label is ['REAL'], not one of REAL, FAKE"),
        ("odd.mp4", {"split": "train"}, "label is None"),
        ("odd.mp4", 7, "the entry of 'odd.mp4' is 7"),
        ("odd.mp4", None, "the entry of 'odd.mp4' is None"),
        ("o\udce9.mp4", {"label": "REAL"}, "cannot be written to a list"),
        ("o\ud800.mp4", {"label": "REAL"}, "cannot be written to a list"),
        ("o\n.mp4", {"label": "REAL"}, "cannot be written to a list"),
        (f"o{'o' * 300}.mp4", {"label": "REAL"}, "File name too long"),
        ("odd.mp4", {"label": "FAKE", "original": "\ud800.mp4"}, "cannot be written to a list"),
    ],
)
def test_an_odd_row_fails_its_video_alone(run, tree, file, entry, complaint):
    path = tree / "videos/dfdc_train_part_0/metadata.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({**json.loads(path.read_text()), file: entry}).encode())
    done = run(*arguments(tree, "--public-val", tree / "public.csv"), check=False)
    assert done.returncode == 1
    assert "5 videos done, 1 failed" in done.stdout
    ((name, reason),) = json.loads((tree / "lists/failed.json").read_text(encoding="utf-8")).items()
    assert name.startswith("dfdc_train_part_0/o")
    assert complaint in reason
    assert len(lines(tree, "val_30-39_train_alignedface_png")) == 5


def test_a_test_split_is_reported_and_left_out_on_demand(run, tree):
    path = tree / "videos/dfdc_train_part_0/metadata.json"
    metadata = json.loads(path.read_text())
    metadata["fake.mp4"]["split"] = "test"
    path.write_text(json.dumps(metadata))
    where = ("--public-val", tree / "public.csv")
    assert '1 videos have "split": "test": listed like all others' in run(*arguments(tree, *where)).stdout
    assert any("/fake/" in line for line in lines(tree, "trainval_alignedface_png"))
    done = run(*arguments(tree, *where, "--leave-out-test"))
    assert "left out of the training lists" in done.stdout
    for train, _ in SIDES:
        assert not any("/fake/" in line for line in lines(tree, train))
