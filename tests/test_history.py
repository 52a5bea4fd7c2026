"""What a file's stream shows about how it was made, on files made with a known history; never part of a score."""

import json
import random
import re
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.history import barred, encode, join, on_screen
from faces.file_signs import size_of, tags_of
from faces.frame_history import Bars
from faces.history import History, KeyFrames, file_history
from faces.jpeg_history import JpegHistory, jpeg_history
from faces.periods import earlier_key_frames, repeat_period
from faces.stills import Still
from faces.video import probe, read_frames
from inference.evidence.history import describe_ratio, faces_like_these, history_facts
from inference.results import Result
from inference.sampling.sampled import Conditions
from inference.verdicts import Calibration, Stratum

FAST = {"preset": "ultrafast"}


def history(path):
    return file_history(path, probe(path))


@pytest.fixture(scope="module")
def walk(clip):
    """90 frames of a clip in which a woman moves, 320x180."""
    frames = list(read_frames(clip("WolfgangLanger_Pexels.mp4")))[:90]
    return [cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA) for frame in frames]


@pytest.fixture(scope="module")
def once(walk, tmp_path_factory):
    """They, encoded once, with a key frame every 30 frames."""
    options = {"crf": "23", "g": "30", "keyint_min": "30", "sc_threshold": "0", "bf": "2"}
    return encode(tmp_path_factory.mktemp("once") / "once.mp4", walk, options)


def test_a_file_encoded_once_shows_its_encoding_and_nothing_else(once):
    shown = history(once)
    assert shown.frames == 90
    assert shown.key_frames == KeyFrames(count=3, usual=30, longest=30, regular=True)
    assert re.match(r"x264 core \d+, bframes 2, keyint 30, rc crf, crf 23.0", shown.encoder)
    assert shown.encoder_starts == [0]
    assert shown.bits_per_pixel == pytest.approx(8 * once.stat().st_size / (90 * 320 * 180), rel=0.1)
    assert shown.bits_per_second == pytest.approx(shown.bits_per_pixel * 320 * 180 * 30, rel=0.01)
    assert (shown.uneven, shown.repeats_every, shown.earlier_key_frames, shown.bars) == (0, None, None, None)
    assert shown.still_share < 0.1
    assert shown.size == "unusual"


@pytest.mark.parametrize("quantiser", [20, 38])
def test_the_quantiser_is_read_from_the_stream(walk, tmp_path, quantiser):
    options = {"qp": str(quantiser), "bf": "0", "x264-params": "ipratio=1"}
    assert history(encode(tmp_path / "q.mp4", walk[:12], options)).quantiser == quantiser


@pytest.mark.parametrize("every", [2, 5])
def test_repeated_frames_are_found(walk, tmp_path, every):
    frames = [frame for index, frame in enumerate(walk) for _ in range(1 + (index % (every - 1) == 0))]
    assert history(encode(tmp_path / "r.mp4", frames, FAST | {"crf": "23"})).repeats_every == every


def test_an_earlier_compression_is_found_by_its_key_frames(walk, tmp_path):
    options = {"crf": "28", "g": "12", "keyint_min": "12", "sc_threshold": "0", "bf": "0"}
    first = encode(tmp_path / "first.mp4", walk, options)
    again = encode(tmp_path / "again.mp4", list(read_frames(first)), {"crf": "20", "g": "250", "bf": "0"})
    assert history(first).earlier_key_frames is None
    assert history(again).earlier_key_frames == 12


def test_peaks_at_the_own_key_frames_are_no_earlier_compression():
    sizes = np.random.default_rng(0).normal(1000, 20, 200)
    sizes[5::20] *= 1.5
    kinds = np.full(200, 2)
    kinds[0] = 1
    assert earlier_key_frames(sizes, kinds, [0]) == 20
    assert earlier_key_frames(sizes, kinds, [0, 40, 80]) is None
    assert earlier_key_frames(np.ones(200), kinds, [0]) is None


def test_changes_of_equal_size_repeat_nothing():
    assert repeat_period(np.ones(100)) is None
    assert repeat_period(np.zeros(100)) is None
    assert repeat_period(np.array([])) is None
    assert repeat_period(np.tile([9.0, 9, 0.1], 30)) == 3


def test_joined_encodings_are_found(walk, tmp_path):
    parts = [encode(tmp_path / f"{n}.ts", walk[n : n + 40], FAST | {"crf": str(crf)}) for n, crf in ((0, 20), (40, 28))]
    assert history(parts[1]).encoder_starts == [0]
    assert history(join(tmp_path / "joined.ts", parts)).encoder_starts == [0, 40]


def test_bars_are_measured_and_a_black_picture_has_none(walk, tmp_path):
    frames, (top, bottom, left, right) = barred(random.Random(3), walk[:12])
    shown = history(encode(tmp_path / "bars.mp4", frames, FAST))
    assert shown.bars == Bars(top, bottom, left, right)
    assert top == bottom == 0 < left or left == right == 0 < top
    assert history(encode(tmp_path / "black.mp4", [np.zeros_like(walk[0])] * 12, FAST)).bars is None


def test_bars_of_a_turned_video_are_told_upright(walk, tmp_path):
    frames = [cv2.copyMakeBorder(frame, 20, 20, 0, 0, cv2.BORDER_CONSTANT, value=0) for frame in walk[:12]]
    path = encode(tmp_path / "bars.mp4", frames, FAST)
    info = probe(path)
    assert file_history(path, info).bars == Bars(20, 20, 0, 0)
    assert file_history(path, info._replace(orientation=info.orientation._replace(turns=1))).bars == Bars(0, 0, 20, 20)


def test_a_page_beside_the_video_stays_the_same(walk, tmp_path):
    shown = history(encode(tmp_path / "screen.mp4", on_screen(walk), FAST | {"crf": "18"}))
    assert 0.2 < shown.still_share < 0.6


def test_uneven_times_are_counted(walk, tmp_path):
    times = [number for number in range(90) if number % 10]
    shown = history(encode(tmp_path / "uneven.mp4", [walk[number] for number in times], FAST | {"bf": "0"}, times))
    assert shown.uneven == pytest.approx(8 / 80, abs=0.005)


@pytest.mark.parametrize(
    ("metadata", "source"),
    [
        ({"comment": "vid:v0200f8e0000bq2b5sj6j2qr9557fjgg"}, "TikTok and Douyin"),
        ({"artist": "ReplayKitRecording"}, "the screen recorder of iPhones and iPads"),
    ],
)
def test_tags_of_platforms_and_recorders_are_known(once, tmp_path, metadata, source):
    path = tmp_path / "tagged.mp4"
    with av.open(str(once)) as made, av.open(str(path), "w") as target:
        target.metadata.update(metadata)
        stream = target.add_stream_from_template(made.streams.video[0])
        for packet in made.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert not any(source in tag for tag in tags_of(once))
    assert [tag for tag in tags_of(path) if source in tag]


@pytest.mark.parametrize(
    ("size", "told"), [((1080, 1920), None), ((1920, 1080), None), ((886, 1920), "screen"), ((1000, 562), "unusual")]
)
def test_sizes_that_cameras_do_not_record_are_told(once, size, told):
    assert size_of(probe(once)._replace(width=size[0], height=size[1])) == told


@pytest.mark.parametrize(("first", "second", "found"), [(60, 90, 60), (75, 95, 75), (90, 60, None), (None, 80, None)])
def test_a_jpeg_compressed_more_strongly_before_is_found(walk, tmp_path, first, second, found):
    picture = Image.fromarray(walk[0][..., ::-1])
    if first:
        picture.save(tmp_path / "first.jpg", quality=first)
        picture = Image.open(tmp_path / "first.jpg").convert("RGB")
    picture.save(tmp_path / "second.jpg", quality=second)
    shown = jpeg_history(tmp_path / "second.jpg")
    assert shown.quality == second
    assert shown.earlier_quality == (pytest.approx(found, abs=2) if found else None)


def test_a_smooth_jpeg_was_not_compressed_twice(tmp_path):
    """Its values lie so close together that other multiples are empty too."""
    rows, columns = np.mgrid[0:270, 0:480]
    Image.fromarray((100 + 0.3 * rows + 0.05 * columns).astype(np.uint8)).save(tmp_path / "sky.jpg", quality=80)
    assert jpeg_history(tmp_path / "sky.jpg") == JpegHistory(80, None)


def test_a_png_has_no_such_history(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert jpeg_history(tmp_path / "a.png") is None
    assert file_history(tmp_path / "a.png", Still(tmp_path / "a.png").info).jpeg is None


NOTHING = History(300, [], None, 0.1, None, 22.0, None, [0], None, 0.0, None, None, None, 0.0, None)


def test_each_finding_says_what_causes_it_and_what_it_means_for_the_score():
    result = Result("a.mp4", 0.5, "ok", "", 5, (), {}, None, None, {})
    assert history_facts(NOTHING, result, None).findings == []
    shown = replace(
        NOTHING, tags=["x"], size="screen", quantiser=33.0, encoder_starts=[0, 9], uneven=0.2, repeats_every=5,
        earlier_key_frames=15, bars=Bars(8, 8, 0, 0), still_share=0.4, jpeg=JpegHistory(90, 60),
    )  # fmt: skip
    findings = history_facts(shown, result, None).findings
    assert len(findings) == 10
    assert all(finding.shows and finding.causes and finding.score for finding in findings)
    text = json.dumps([vars(finding) for finding in findings])
    assert not re.search("manipulat|forge|tamper", text)
    assert "none by itself" in text.lower()


def test_real_faces_like_these_are_compared_with_all():
    """Two strata of 100 and 300 real faces: 2% of all score 0.6 or more, and 5% of those that are small."""
    strata = (
        Stratum({"face_pixels": (0.0, 50.0)}, 100, (0.0, 0.3, 0.6), (0.3, 0.05, 0.01)),
        Stratum({"face_pixels": (50.0, None)}, 300, (0.0, 0.3, 0.6), (0.1, 0.01, 0.01)),
    )
    calibration = Calibration({}, "faces", strata)
    result = Result("a.mp4", 0.5, "ok", "", 5, (), {}, None, None, {}, conditions=Conditions(40, 0.01, 0.5))
    result = replace(result, judgement=calibration.judge(0.5, result.conditions))
    assert faces_like_these(result, calibration) == (
        "Of real faces shown like these (faces 0 to 50 pixels wide), up to 5.0% score 0.60 or more; of all real faces "
        "in the calibration, up to 2.0%: 2.5 times as often. The verdict takes this into account."
    )
    assert faces_like_these(result, None) == ""


def test_ratios_in_words():
    assert [describe_ratio(ratio) for ratio in (1.1, 2.04)] == ["about as often", "2.0 times as often"]


def test_the_evidence_tells_it_and_the_score_stays_the_same(run, once, weights, tmp_path):
    run("-m", "inference.predict", once, "--output", tmp_path / "plain.csv")
    run("-m", "inference.predict", once, "--evidence", tmp_path, "--output", tmp_path / "s.csv")
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()
    content = json.loads((tmp_path / "once.mp4.json").read_text())["history"]
    assert content["measured"]["key_frames"] == {"count": 3, "usual": 30, "longest": 30, "regular": True}
    assert "an unusual size" in [finding["name"] for finding in content["findings"]]
    assert re.match(r"Of real faces shown like these \(faces .*\), up to \d+\.\d% score", content["faces_like_these"])
    page = (tmp_path / "once.mp4.html").read_text()
    assert "What happened to this file" in page
    assert "3 key frames, one every 30 frames" in page
    assert "the picture has a size that hardly any camera records" in page


def test_sampling_without_evidence_imports_none_of_it(start, once, weights):
    code = (
        "import sys; from pathlib import Path; import inference.predict, inference.scorer\n"
        "from inference.sampling.look import Wanted, sample; from inference.settings import Settings\n"
        f"sample(Path({str(once)!r}), Wanted(Settings(), set(), Path({str(weights)!r})))\n"
        "ours = ('faces.history', 'faces.frame_history', 'faces.periods', 'faces.jpeg_history', 'faces.file_signs')\n"
        "print(sorted(set(ours) & set(sys.modules)))"
    )
    assert start("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["dfdc_train_part_10/ayhmreal.mp4", "ffpp/004.mp4"])
def test_real_clips_raise_no_alarm(shared, name):
    shown = history(shared("clips") / name)
    assert shown.frames == 150
    assert (shown.repeats_every, shown.bars, shown.size) == (None, None, None)
    assert shown.still_share < 0.1
    assert len(shown.encoder_starts) == 1
