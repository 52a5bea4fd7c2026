"""Screening: frames reached by key frames are those that a full reading shows; and what rows say of it."""

import json
from dataclasses import replace
from itertools import islice

import av
import cv2
import numpy as np
import pytest

from common.errors import BadInputError
from common.status import Status
from faces.keyframes import open_key_frames
from faces.video import Reading, probe, read_frames
from inference.conclude import unscored
from inference.members import KNOWN, MEMBERS, MODELS, CropKind
from inference.results import write_submission
from inference.sampling.look import Wanted, sample
from inference.sampling.places import Place, choose_places, find_stretches
from inference.sampling.screen import spread_groups
from inference.settings import Settings, detector_weights, resolve
from inference.verdicts import calibration_of, read_calibration
from tests.strange import corrupt_packet, encode

X264 = {"preset": "veryfast", "bf": "3"}


@pytest.fixture(scope="module")
def moving(clip):
    """150 small frames of a real clip."""
    return [cv2.resize(image, (320, 180)) for image in islice(read_frames(clip("WolfgangLanger_Pexels.mp4")), 150)]


def every_frame(path):
    """The pixels of all frames of a video that is read from its beginning, by their time."""
    return {frame.time: frame.image for frame in Reading(path, probe(path))}


def is_open(path):
    """Whether a key frame other than the first has frames behind it that are shown before it."""
    with av.open(str(path)) as container:
        latest, least = None, 0
        for packet in container.demux(video=0):
            if packet.size and packet.is_keyframe:
                latest, least = packet.pts, least if latest is None else 1
            elif packet.size and least and packet.pts < latest:
                return True
    return False


VARIABLE = np.cumsum(np.tile([1, 1, 3, 1, 2], 30)).tolist()


@pytest.mark.parametrize(
    ("name", "codec", "options", "times"),
    [
        ("x.mp4", "libx264", X264 | {"g": "12"}, None),
        ("x.mov", "libx264", X264 | {"g": "40", "x264-params": "open-gop=1"}, None),
        ("x.mp4", "libx264", X264 | {"g": "250"}, VARIABLE),
        (
            "x.mp4",
            "libx265",
            {"preset": "ultrafast", "x265-params": "log-level=error:keyint=30:open-gop=1:bframes=3"},
            None,
        ),
        ("x.mp4", "mpeg4", {"g": "25", "bf": "2"}, None),
        ("x.mov", "mpeg2video", {"g": "15", "bf": "2"}, None),
        ("x.mp4", "libvpx-vp9", {"g": "30", "deadline": "realtime", "cpu-used": "8"}, None),
        ("x.mp4", "libsvtav1", {"preset": "12", "g": "30"}, None),
        ("x.mov", "mjpeg", {}, None),
    ],
    ids=["h264", "open", "variable", "hevc", "mpeg4", "mpeg2", "vp9", "av1", "mjpeg"],
)
def test_frames_behind_key_frames_are_those_of_a_full_reading(moving, tmp_path, name, codec, options, times):
    """Pixel by pixel and at the same times, also behind frames that were left out."""
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / name, moving, codec=codec, options=options, times=times, pixels=pixels)
    assert is_open(path) == ("open-gop=1" in str(options) or codec.startswith("mpeg"))
    shown = every_frame(path)
    order = sorted(shown)
    with open_key_frames(path) as reader:
        assert len(reader.keys) == {"12": 13, "250": 1}.get(options.get("g"), len(reader.keys))
        for key in reader.keys[:: max(len(reader.keys) // 4, 1)]:
            behind, last = reader.behind(key), -1.0
            for gap in (0, 6, 11):
                behind.skip(gap, 10)
                group = list(islice(behind, 5))
                places = [order.index(frame.time) for frame in group]
                assert places == list(range(places[0], places[0] + len(group))) if group else True
                assert not group or group[0].time > last
                for frame in group:
                    np.testing.assert_array_equal(frame.image, shown[frame.time])
                    last = frame.time
        assert reader.info.start == probe(path).start
        assert reader.first == order[0]


def screen(path, **changes):
    """What a screening sees of a video."""
    settings = Settings(screen=True, **changes)
    (sampled,) = sample(path, Wanted(settings, {CropKind("image", 64)}, detector_weights()))
    return sampled


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x.avi", "a avi file has no complete index"),
        ("x.ts", "a mpegts file has no complete index"),
        ("x.264", "a h264 file has no complete index"),
        ("fragments.mp4", "its index is in fragments"),
    ],
)
def test_files_without_an_index_are_read_from_the_beginning(moving, weights, tmp_path, name, why):
    flags = "frag_keyframe+empty_moov" if "fragments" in name else ""
    path = encode(tmp_path / name, moving[:60], options={"g": "12", "bf": "0"}, movflags=flags)
    sampled = screen(path)
    assert sampled.losses == (f"screened by reading all of it: {why}",)
    assert (sampled.total, sampled.frames, len(sampled.faces[0].crops.popitem()[1])) == (60, 30, 30)


def test_a_damaged_group_leads_to_the_reading_that_has_a_status_for_it(moving, weights, tmp_path):
    path = encode(tmp_path / "x.mp4", moving, options={"g": "12", "bf": "0"})
    assert screen(path).losses == ()
    corrupt_packet(path, 61)  # of the third group; one of a group that nobody looks at is not noticed
    sampled = screen(path)
    assert sampled.losses[-1] == "screened by reading all of it: frames behind a key frame are missing or damaged"
    assert sampled.damaged or sampled.concealed


def test_a_damaged_first_packet_leads_there_too(moving, weights, tmp_path):
    path = encode(tmp_path / "x.mp4", moving, options={"g": "12", "bf": "0"})
    corrupt_packet(path, 0)
    sampled = screen(path)
    assert sampled.losses[-1].startswith("screened by reading all of it: its first packets")
    assert sampled.damaged or sampled.concealed


def test_thirty_frames_are_looked_at_whatever_the_length(moving, weights, tmp_path):
    """In short distances a group behind each of six key frames; in long ones several groups behind one."""
    for distance in ("12", "250"):
        path = encode(tmp_path / f"{distance}.mp4", moving, options=X264 | {"g": distance})
        sampled = screen(path)
        assert (sampled.total, sampled.frames, sampled.losses) == (150, 30, ())
        times = np.array(sampled.timing.times).reshape(6, 5)
        np.testing.assert_allclose(np.diff(times, axis=1), 1 / 30, atol=1e-4)
        assert (np.diff(times[:, 0]) > 0.2).all()
        assert set(sampled.timing.times) <= every_frame(path).keys()


@pytest.mark.parametrize("length", [7, 12, 31])
def test_groups_do_not_overlap_where_every_frame_is_a_key_frame(clip, weights, tmp_path, length):
    images = list(islice(read_frames(clip("single_face.mp4")), length))
    path = encode(tmp_path / "x.mov", images, codec="mjpeg", pixels="yuvj420p")
    times = screen(path).timing.times
    assert len(set(times)) == len(times) >= 5 * (length // 8)


def test_groups_spread_over_a_video_that_is_read_on():
    assert sorted(spread_groups(300)) == [start + n for start in (22, 72, 122, 172, 222, 272) for n in range(5)]
    assert sorted(spread_groups(12)) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert sorted(spread_groups(5)) == [0, 1, 2, 3, 4]


FRAME = 1 / 25


def test_early_key_frames_begin_a_stretch():
    """At a distance that comes again, or that is x264's, unless there is a cut; at a fixed one nothing is known."""
    assert find_stretches([0, 10, 20, 23, 33, 43, 44], FRAME) == [range(3), range(3, 6), range(6, 7)]
    assert find_stretches([0, 2, 4, 6, 8], FRAME) == [range(5)]
    assert find_stretches([0, 7, 9], FRAME) == [range(1), range(1, 2), range(2, 3)]
    assert find_stretches([0, 10], FRAME) == [range(2)], "250 frames"
    assert find_stretches([0, 10, 12], FRAME) == [range(2), range(2, 3)]
    assert find_stretches([0], FRAME) == [range(1)]


def test_the_longest_stretches_have_a_group_each():
    """Among about equal ones those that are spread, so that a film is not looked at in its first minute only."""
    times = [0, 10, 20, 23, 33, 43, 44, 48, 50, 51, 55, 58]
    first, later = choose_places(times, 59, 6, FRAME)
    assert [(place.stretch, place.groups) for place in first] == [(0, 1), (1, 1), (2, 1), (5, 1), (6, 1), (3, 1)]
    assert not {place.key for place in first} & {place.key for place in later}
    spots = [number * 10 + offset for number in range(360) for offset in (0, 8)]
    first, _ = choose_places(spots, 3600, 6, FRAME)
    assert [spots[place.key] for place in first] == pytest.approx([300, 900, 1500, 2100, 2700, 3300], abs=10)


def test_in_few_stretches_the_longer_ones_have_more_groups():
    first, later = choose_places([0, 2, 4, 6, 8, 10, 12, 13, 15, 17], 19, 6, FRAME)
    assert sorted((place.stretch, place.groups) for place in first) == [(0, 1)] * 4 + [(1, 1)] * 2
    assert choose_places([0.0], 10, 6, FRAME) == ([Place(0, 6, 0)], [])
    assert choose_places([0.0, 8.0], 10, 6, FRAME)[0] == [Place(0, 5, 0), Place(1, 1, 1)]
    assert len({place.key for place in [*first, *later]}) == 10


def test_a_long_video_without_cuts_is_looked_at_all_over():
    first, later = choose_places(list(range(0, 3600, 2)), 3600, 6, FRAME)
    assert [place.key * 2 for place in first] == [300, 900, 1500, 2100, 2700, 3300]
    assert len(later) > 12


def rows(output):
    return [json.loads(line) for line in output.with_suffix(".jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(clip, moving, tmp_path_factory):
    """A folder of videos as they come."""
    videos = tmp_path_factory.mktemp("videos")
    full = list(islice(read_frames(clip("single_face.mp4")), 40))
    encode(videos / "face.mp4", full, options=X264 | {"g": "10"})
    encode(videos / "four.mp4", full[:4])
    encode(videos / "none.mp4", list(islice(read_frames(clip("no_face.mp4")), 40)), options={"g": "10"})
    encode(videos / "pipe.ts", full, options={"g": "10"})
    cv2.imwrite(str(videos / "still.png"), full[0])
    (videos / "cut.mp4").write_bytes((videos / "face.mp4").read_bytes()[:20000])
    (videos / "text.mp4").write_text("no video")
    return videos


def test_a_screening_keeps_the_statuses_and_names_itself(run, folder, weights, tmp_path):
    output = tmp_path / "s.csv"
    words = ("-m", "inference.predict", folder, "--output", output)
    run(*words, check=False)
    exact = {row["filename"]: row for row in rows(output)}
    done = run(*words, "--screen", "--evidence", tmp_path / "evidence", check=False)
    assert "by screen" in done.stdout
    screened = {row["filename"]: row for row in rows(output)}
    assert {row["policy"] for row in exact.values()} == {"reference"}
    assert {row["policy"] for row in screened.values()} == {"screen"}
    assert {name: row["status"] for name, row in exact.items()} == {
        name: row["status"] for name, row in screened.items()
    }
    assert {row["status"] for row in exact.values()} == {
        "ok",
        "too_few_frames",
        "no_face",
        "decode_error",
        "unsupported",
    }
    assert screened["still.png"]["label"] == exact["still.png"]["label"], "of a still image there is nothing to choose"
    assert screened["face.mp4"]["label"] == pytest.approx(exact["face.mp4"]["label"], abs=0.05)
    assert screened["pipe.ts"]["notes"] == ["screened by reading all of it: a mpegts file has no complete index"]
    assert "by screen" in output.with_suffix(".verdicts.csv").read_text()
    page = (tmp_path / "evidence/face.mp4.html").read_text()
    assert "This is a screening: 30 of 40 frames were examined, in groups of five consecutive ones." in page
    evidence = json.loads((tmp_path / "evidence/face.mp4.json").read_text())
    assert evidence["provenance"]["settings"]["screen"] is True
    assert "It was screened" in evidence["conclusion"][0]
    (face,) = evidence["members"]["lite0"]["faces"]
    assert [len(group["times"]) for group in face["groups"]] == [5] * 6
    done = run("-m", "inference.verify", tmp_path / "evidence", folder / "face.mp4")
    assert "face.mp4: identical" in done.stdout


def test_screened_scores_stand_apart(run, folder, weights, tmp_path):
    """A run does not go on, shards do not merge, and neither a queue nor a comparison takes both kinds."""
    shards = [("--shard", f"{index}/2", "--output", tmp_path / "s.csv") for index in (0, 1)]
    run("-m", "inference.predict", folder, *shards[0], check=False)
    done = run("-m", "inference.predict", folder, *shards[0], "--screen", check=False)
    assert (done.returncode, "was begun with other members, weights or options" in done.stderr) == (2, True)
    run("-m", "inference.predict", folder, *shards[1], "--screen", check=False)
    done = run("-m", "inference.merge", folder, "--output", tmp_path / "s.csv", check=False)
    assert (done.returncode, "scored with different members, weights or options" in done.stderr) == (2, True)
    first, second = ((tmp_path / f"s-{index}-of-2.jsonl") for index in (0, 1))
    (tmp_path / "both.jsonl").write_text(first.read_text() + second.read_text())
    done = run("-m", "forensics.queue", tmp_path / "both.jsonl", "--output", tmp_path / "queue", check=False)
    assert "mixes scores of reference and screen" in done.stderr
    (tmp_path / "truth.csv").write_text("filename,label\nface.mp4,REAL\n")
    words = (*(path.with_suffix(".csv") for path in (first, second)), tmp_path / "truth.csv")
    done = run("-m", "quality.compare", *words, check=False)
    assert "screened scores are compared with screened ones" in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--shots",), "--screen chooses its frames itself: leave out --shots"),
        (("--stability",), "leave out --stability"),
        (("--max-frames", "30"), "leave out --max-frames"),
    ],
)
def test_options_that_do_not_go_with_a_screening(run, folder, weights, tmp_path, words, complaint):
    done = run(
        "-m", "inference.predict", folder, "--screen", *words, "--output", tmp_path / "s.csv", check=False
    )  # fmt: skip
    assert (done.returncode, complaint in done.stderr) == (2, True)


def test_video_members_are_refused(tmp_path):
    (tmp_path / MEMBERS["sf1"].file).touch()
    with pytest.raises(BadInputError, match="--screen needs image members only, and sf1 see whole clips"):
        resolve(Settings(models=tmp_path, members="sf1", screen=True))


def test_a_calibration_of_videos_is_for_their_policy_and_one_of_faces_for_both(tmp_path):
    members = {name: KNOWN[name] for name in ("lite0", "lite2")}
    shipped = json.loads((MODELS / "calibration.json").read_text())
    assert shipped["unit"] == "faces"
    for policy in ("reference", "screen"):
        assert calibration_of(members, MODELS, None, policy)
        path = tmp_path / f"{policy}.json"
        path.write_text(json.dumps(shipped | {"unit": "videos", "policy": policy}))
        assert calibration_of(members, MODELS, path, policy)
        other = {"reference": "screen", "screen": "reference"}[policy]
        with pytest.raises(BadInputError, match=f"fitted on videos with the policy {policy}, not {other}"):
            calibration_of(members, MODELS, path, other)


def test_each_long_shot_with_a_face_has_a_group(clip, weights, tmp_path):
    """Two shots of different people, and one without a face between them; x264 puts key frames at the cuts."""
    names = ("single_face.mp4", "no_face.mp4", "WolfgangLanger_Pexels.mp4")
    shots = [
        [cv2.resize(image, (640, 360)) for image in islice(read_frames(clip(name)), length)]
        for name, length in zip(names, (60, 45, 72), strict=True)
    ]
    shots[2] = [cv2.copyMakeBorder(image[:, 160:480], 0, 0, 0, 320, cv2.BORDER_REPLICATE) for image in shots[2]]
    path = encode(tmp_path / "x.mp4", [image for shot in shots for image in shot], options={"g": "250"})
    sampled = screen(path)
    seen = [
        [time for time in sampled.timing.times if start <= time < end] for start, end in ((0, 2), (2, 3.5), (3.5, 6))
    ]
    assert len(seen[0]) >= 5
    assert len(seen[2]) >= 5
    assert 1 <= len(seen[1]) <= 4, "one frame of each group tells that it shows no face"
    assert (sampled.face_frames, len(sampled.faces)) == (len(seen[0]) + len(seen[2]), 2)
    assert all(face.decides for face in sampled.faces)


def test_a_face_far_behind_the_only_key_frame_is_found(clip, weights, tmp_path):
    names = (("no_face.mp4", 98), ("single_face.mp4", 60))
    images = [cv2.resize(image, (640, 360)) for name, n in names for image in islice(read_frames(clip(name)), n)]
    path = encode(tmp_path / "x.mp4", images, options={"g": "250", "x264-params": "scenecut=0"})
    sampled = screen(path)
    assert sampled.losses == ("screened by reading all of it: no face near its few key frames",)
    assert sampled.faces[0].track[0].frame >= 4


def test_a_calibration_holds_the_policy_of_the_videos_that_it_was_fitted_on(run, tmp_path):
    random = np.random.default_rng(0)
    names = [f"v{number}.mp4" for number in range(300)]
    labels = ["REAL" if number % 2 else "FAKE" for number in range(300)]
    scores = [random.beta(2, 5) if label == "REAL" else random.beta(5, 2) for label in labels]
    result = replace(unscored("", Status.OK, "", 30, {"lite0": 0.5, "lite2": 0.5}), policy="screen", run="x")
    rows = [replace(result, filename=name, label=score) for name, score in zip(names, scores, strict=True)]
    write_submission(tmp_path / "s.csv", rows)
    lines = "".join(f"{name},{label}\n" for name, label in zip(names, labels, strict=True))
    (tmp_path / "truth.csv").write_text("filename,label\n" + lines)
    words = ("--fit", tmp_path / "c.json", "--output", tmp_path / "e", "--rounds", "10")
    run("-m", "quality.evaluate", tmp_path / "s.csv", tmp_path / "truth.csv", *words)
    assert read_calibration(tmp_path / "c.json").policies == ("screen",)
