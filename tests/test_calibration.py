"""What a score means: how many real videos in similar conditions score as high, and the verdicts that follow."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from common.errors import BadInputError
from common.images import write_image
from common.status import Status
from inference import Scorer
from inference.conclude import highest, unscored
from inference.members import MODELS, SHIPPED
from inference.results import ShotResult
from inference.sampling.look import measure
from inference.sampling.sampled import Conditions
from inference.verdicts import Calibration, Judgement, Recall, calibration_of, read_calibration, verdict
from quality.calibration import (
    CHANCE,
    ENOUGH,
    CalibrationData,
    fit_calibration,
    make_strata,
    real_scores,
    write_calibration,
)
from quality.score_files import Truth
from shipped.calibration import calibrate, shares_within, with_limits
from shipped.perturbed import PERTURBATIONS, UNCHANGED, PerturbedCrop, versions_of


def conditions(face=100.0, sharpness=0.02, light=0.4, bits=None):
    return Conditions(face, sharpness, light, bits)


@pytest.fixture(scope="module")
def blurred():
    """1,000 real videos, of which the blurred half scores higher: scores, which are sharp, conditions, strata."""
    random = np.random.default_rng(0)
    sharp = np.arange(1000) % 2 == 0
    scores = np.where(sharp, random.beta(1, 20, 1000), random.beta(2, 5, 1000))
    known = [
        conditions(random.uniform(50, 200), 0.03 if is_sharp else 0.01, random.uniform(0.3, 0.6)) for is_sharp in sharp
    ]
    return (
        scores,
        sharp,
        known,
        make_strata(real_scores(scores.tolist(), known, [str(number) for number in range(1000)])),
    )


def test_strata_separate_real_videos_by_what_their_scores_depend_on(blurred):
    scores, sharp, _, strata = blurred
    assert [stratum.reals for stratum in strata] == [500, 500]
    calibration = Calibration({}, "videos", strata)
    for sharpness, of_stratum in ((0.03, scores[sharp]), (0.01, scores[~sharp])):
        for score in np.linspace(0.01, 0.999, 50):
            counted = int((of_stratum >= score).sum())
            judgement = calibration.judge(score, conditions(sharpness=sharpness))
            exact = (counted + 1) / 501
            assert exact - 1e-6 <= judgement.rate <= exact + 5 / 501, (
                "never below the counted rate, 500 scores in 300 entries"
            )
            assert judgement.reals == 500
            assert judgement.count >= counted
            if counted <= 100:
                assert judgement.rate == pytest.approx(exact, abs=1e-6)
                assert judgement.count == counted
    words = sorted(stratum.words for stratum in strata)
    assert ["sharpness 0.008 to 0.020" in words[0], "sharpness 0.020 to 0.037" in words[1]] == [True, True]


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (0.95, "none of 150 real faces like this one scores as high, a rate of at most 0.66%"),
        (0.9, "1 of 150 real faces like this one scores as high, a rate of at most 1.3%"),
        (0.8, "2 of 150 real faces like this one score as high, a rate of at most 2.0%"),
        (0.1, "at most 150 of 150 real faces like this one score as high, a rate of at most 100%"),
    ],
)
def test_a_sentence_says_what_was_counted_and_the_bound_apart(score, sentence):
    (stratum,) = make_strata(
        real_scores([0.2] * 148 + [0.8, 0.9], [conditions()] * 150, [str(number) for number in range(150)])
    )
    assert Calibration({}, "faces", (stratum,)).judge(score, conditions()).words == sentence


def test_a_sentence_says_of_how_many_versions_and_that_they_are_weighted():
    """Two versions of each of 150 faces, of which the last fifty are another data set's."""
    scores, sources = [0.2] * 299 + [0.9], [str(number // 2) for number in range(300)]
    (stratum,) = make_strata(real_scores(scores, [conditions()] * 300, sources, [1.0] * 200 + [2.0] * 100))
    words = Calibration({}, "faces", (stratum,)).judge(0.9, conditions()).words
    assert words.startswith("1 of 300 versions of 150 real faces like this one scores as high, a rate of at most 1.")
    assert words.endswith("% with every data set counting alike")


def test_new_real_videos_are_called_fake_as_often_as_the_rate_says(blurred):
    """5% of real videos of the same kind, which the fit did not see, have a rate of at most 5%."""
    strata, random = blurred[3], np.random.default_rng(1)
    calibration = Calibration({}, "videos", strata)
    for sharpness, (a, b) in ((0.03, (1, 20)), (0.01, (2, 5))):
        rates = [calibration.judge(score, conditions(sharpness=sharpness)).rate for score in random.beta(a, b, 4000)]
        for level in (0.01, 0.05, 0.2):
            assert abs(np.mean(np.array(rates) <= level) - level) < 0.6 * level


def test_few_or_similar_real_videos_stay_in_one_stratum():
    random = np.random.default_rng(0)
    known = [conditions(sharpness=random.uniform(0.01, 0.02)) for _ in range(1000)]
    names = [str(number) for number in range(1000)]
    alike = make_strata(real_scores(random.uniform(0, 1, 1000).tolist(), known, names))
    assert len(alike) == 1, f"chance gives two strata with a probability of {CHANCE}"
    apart = [float(condition.sharpness > 0.015) for condition in known]
    few = 2 * ENOUGH - 10
    assert len(make_strata(real_scores(apart[:few], known[:few], names[:few]))) == 1
    assert len(make_strata(real_scores(apart, known, names))) == 2
    sources = [str(number // 5) for number in range(1000)]  # 200 real videos in five versions each
    assert len(make_strata(real_scores(apart, known, sources))) == 1
    (stratum,) = make_strata(real_scores([0.1, 0.2, 0.3], known[:3], names[:3]))
    assert stratum.rate(0.9) == 1 / 4, "three real videos cannot tell more"
    with pytest.raises(ValueError, match="needs real faces or videos"):
        real_scores([], [], [])


def test_a_video_unlike_all_real_ones_has_no_rate(blurred):
    calibration = Calibration({}, "videos", blurred[3])
    dark = calibration.judge(0.9, conditions(light=0.05))
    assert (dark.rate, dark.outside) == (None, "light 0.05; known are light 0.24 to 0.75")
    small = calibration.judge(0.9, conditions(face=20))
    assert small.outside.startswith("faces 20 pixels wide; known are faces 40 pixels wide or more")
    assert calibration.judge(0.9, conditions(face=2000)).rate is not None, "networks see no more of a larger face"
    assert calibration.judge(0.9, None).rate is None
    of_dark = verdict(Status.OK, 0.9, "the mean", dark)
    assert of_dark.name == "uncertain"
    assert "light 0.05" in of_dark.meaning


def test_bits_per_pixel_count_only_if_they_are_known_of_all_real_ones():
    mixed = [conditions(bits=0.1), conditions()]
    (stratum,) = make_strata(real_scores([0.1, 0.2], mixed, ["a", "b"]))
    assert "bits_per_pixel" not in stratum.ranges
    (stratum,) = make_strata(real_scores([0.1, 0.2], [conditions(bits=0.1), conditions(bits=0.2)], ["a", "b"]))
    assert stratum.ranges["bits_per_pixel"] == (pytest.approx(0.08), None)
    assert stratum.outside(conditions(bits=0.05)) == ["bits_per_pixel"]


@pytest.mark.parametrize(
    ("rate", "name"),
    [(0.001, "likely fake"), (0.01, "likely fake"), (0.04, "leans fake"), (0.2, "suspicious"), (0.21, "uncertain")],
)
def test_verdicts_depend_on_rates_and_not_on_scores(blurred, rate, name):
    judgement = Calibration({}, "videos", blurred[3]).judge(0.5, conditions())
    assert verdict(Status.OK, 0.1, "", type(judgement)(rate, 500, "videos", "")).name == name
    assert verdict(Status.OK, 0.1, "", None).name == "uncertain", "no verdict says real, also without a calibration"
    assert verdict(Status.NO_FACE, 0.5, "", None).name == "not scored"


def test_sharpness_light_and_size_of_crops(frames):
    crop = np.ascontiguousarray(frames[0][100:228, 200:328, ::-1])
    known = measure([np.stack([crop] * 40)], [90, 100, 140], 0.123456789)
    assert (known.face_pixels, known.bits_per_pixel) == (100, 0.12346)
    assert known.light == pytest.approx((crop @ [0.299, 0.587, 0.114]).mean() / 255, abs=1e-3)
    soft = measure([crop[None, ::4, ::4]], [100])
    assert soft.sharpness < 0.8 * known.sharpness
    assert measure([crop[None] // 2], [100]).light == pytest.approx(known.light / 2, abs=0.01)
    with pytest.raises(ValueError, match="no crop"):
        measure([], [])


def test_versions_of_a_crop_are_smaller_and_more_compressed(frames):
    crop = np.ascontiguousarray(frames[0][100:228, 200:328])
    versions = list(dict(versions_of(crop)).values())
    sides = [128, *(round(128 * recoding.scale) for recoding in PERTURBATIONS.values())]
    assert [version.shape[0] for version in versions] == sides
    assert np.array_equal(versions[0], crop)
    assert 0 < float(np.abs(versions[1].astype(float) - crop).mean()) < 12


def crops_of(name, count, low, high, version=UNCHANGED, **columns):
    """Real and fake crops in turn, with scores spread over [0, low] and [0, high]."""
    return [
        PerturbedCrop(
            f"{name}{number}", version, Truth(number % 2, f"{name}{number}", "", columns), score, conditions()
        )
        for number, score in enumerate(np.linspace(0, 1, count) * np.tile([low, high], count // 2))
    ]


def test_a_calibration_says_how_far_it_holds():
    """The sets of the fit, the one told best and worst, and how many real faces of an unseen set reach 5%."""
    crops = {"ffpp_val": crops_of("f", 400, 0.5, 1.0), "celebdf_val": crops_of("c", 400, 0.5, 0.6)}
    fitted = calibrate(crops, {"lite0": "ab"})
    photos = [*crops_of("u", 200, 0.6, 0.6, race="A"), *crops_of("v", 200, 0.9, 0.9, race="B")]
    crops["utk_val"] = [crop for crop in photos if not crop.truth.label]
    unseen = [*crops_of("d", 200, 0.5, 1.0), *crops_of("d", 200, 0.6, 1.0, "half size, crf 33")]
    limits = with_limits(fitted.calibration, crops, "faces224_test", unseen).limits
    assert limits[0].startswith(
        "The rates were counted on single faces from FaceForensics++, Celeb-DF, UTKFace, not on"
    )
    assert re.search(r"best in FaceForensics\+\+ \(AUC 0.7\d\) and worst in Celeb-DF \(0.5\d\)", limits[1])
    above = fitted.calibration.strata[0].recall.threshold
    for share, high, how in ((5, 0.5, "as they are"), (20, 0.6, "at half size, crf 33")):
        counted = 100 * (1 - above / high)
        assert abs(counted - share) < 2, how
        (said,) = re.findall(rf"(\d+)%(?: for faces)? {how}", limits[2])
        assert abs(float(said) - counted) < 1
    assert limits[3].endswith("of UTKFace, these score above 0.5: 17.0% (A), 44.0% (B).")
    shares = shares_within(fitted.calibration, unseen)["half size, crf 33"]
    assert shares[0][0] <= shares[0][1] <= shares[0][2] and shares[1][1] > shares[0][1]


def test_a_stratum_knows_how_many_fakes_of_its_conditions_are_found():
    """Small fakes hide better than large ones."""
    known = [conditions(face=50 if number % 2 else 150) for number in range(2000)]  # every other one is small
    labels = np.arange(2000) // 2 % 2
    is_small = np.arange(2000) % 2 == 1
    drawn = np.random.default_rng(0).uniform(0, 1, 2000)
    scores = np.where(labels, 0.5 * drawn + np.where(is_small, 0.1, 0.2), drawn * np.where(is_small, 0.5, 0.3))
    names = np.array([str(number) for number in range(2000)])
    fitted = fit_calibration({}, "faces", CalibrationData(labels, scores, names, known, names.tolist()), 2)
    small, large = (fitted.calibration.stratum_of(conditions(face=face)) for face in (50, 150))
    assert small.recall.false_positives == large.recall.false_positives == 0.05
    for stratum, found in ((small, 0.25), (large, 0.83)):
        assert stratum.recall.share == pytest.approx(found, abs=0.06)
        assert stratum.rate(stratum.recall.threshold + 1e-6) <= 0.05 < stratum.rate(stratum.recall.threshold - 0.01)


def test_a_calibration_is_the_same_when_it_is_read_again(blurred, tmp_path):
    strata = (replace(blurred[3][0], recall=Recall(0.05, 0.5, 0.2)), *blurred[3][1:])
    calibration = Calibration({"lite0": "ab"}, "videos", strata, limits=("It was counted on made-up numbers.",))
    write_calibration(tmp_path / "c.json", calibration, {"temperature": 2.0})
    assert read_calibration(tmp_path / "c.json") == calibration
    assert json.loads((tmp_path / "c.json").read_text())["temperature"] == 2


@pytest.mark.slow
def test_a_calibration_fitted_on_clips_is_used(run, clip, weights, tmp_path):
    """After real clips are scored and fitted, the same clips have the rates counted by hand."""
    videos = tmp_path / "videos"
    videos.mkdir()
    names = ["single_face.mp4", "carphone_pristine.mp4", "face_noface.mov", "no_face.mp4"]
    for name in names:
        (videos / name).symlink_to(clip(name).resolve())
    first = run("-m", "inference.predict", videos, "--max-frames", 10, "--output", tmp_path / "one.csv", check=False)
    assert first.returncode == 0, first.stderr
    rows = {row["filename"]: row for row in map(json.loads, (tmp_path / "one.jsonl").read_text().splitlines())}
    real = [name for name in names if rows[name]["status"] == "ok"]
    assert len(real) >= 2
    fake = {**rows[real[0]], "filename": "fake.mp4", "label": 0.99}
    # A calibration takes a hundred real videos: each clip stands for fifty.
    copies = [{**row, "filename": f"{copy}-{name}"} for copy in range(50) for name, row in rows.items()]
    (tmp_path / "known.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*copies, fake]))
    for file, column in (("known.csv", "label"), ("truth.csv", "truth")):
        cells = [f"{row['filename']},{row.get(column, int(row is fake))}\n" for row in [*copies, fake]]
        (tmp_path / file).write_text("filename,label\n" + "".join(cells))
    fit = tmp_path / "fit.json"
    done = run("-m", "quality.evaluate", tmp_path / "known.csv", tmp_path / "truth.csv", "--fit", fit,
               "--output", tmp_path / "evaluation", "--rounds", 20)  # fmt: skip
    assert f"| {50 * len(real)} |" in done.stdout
    assert "predict --calibration takes it for lite0,lite2" in done.stdout
    words = ("-m", "inference.predict", videos, "--max-frames", 10, "--calibration", fit)
    done = run(*words, "--output", tmp_path / "two.csv", "--evidence", tmp_path / "evidence")
    with (tmp_path / "two.verdicts.csv").open(newline="") as file:
        table = {row["filename"]: row for row in csv.DictReader(file)}
    labels = [rows[name]["label"] for name in real]
    for row in map(json.loads, (tmp_path / "two.jsonl").read_text().splitlines()):
        name = row["filename"]
        page = (tmp_path / f"evidence/{name}.html").read_text()
        if row["status"] != "ok":
            assert (row["false_positive_rate"], row["verdict"]) == (None, "not scored")
            continue
        counted = sum(label >= row["label"] for label in labels)
        assert row["false_positive_rate"] == pytest.approx((50 * counted + 1) / (50 * len(real) + 1), abs=1e-5)
        assert row["judgement"]["unit"] == "videos"
        assert row["conditions"]["bits_per_pixel"] > 0
        share = f"{row['false_positive_rate']:.0%}"
        assert row["judgement"]["count"] == 50 * counted
        many = f"{'at most ' if counted > 2 else ''}{50 * counted}" if counted else "none"
        verb = "score" if counted else "scores"
        meaning = f"{many} of 150 real videos like this one {verb} as high, a rate of at most {share}"
        assert meaning in done.stdout
        assert meaning[1:] in page, "there it begins a sentence"
        assert row["verdict"] in page
        assert (table[name]["verdict"], table[name]["meaning"]) == (row["verdict"], meaning)
        assert row["verdict"] == "uncertain", "a few real videos cannot tell more"
    other = run(*words, "--members", "lite0", "--output", tmp_path / "three.csv", check=False)
    assert other.returncode == 2
    assert "fit.json was made for lite0, lite2, not for lite0" in other.stderr


def test_a_high_score_is_less_rare_among_many_shots(blurred):
    """A rate is for one shot; in 15 of 100 real videos the highest of sixteen shots has a rate of at most 1%."""
    judgement = Calibration({}, "videos", blurred[3]).judge(0.5, conditions())
    rare = replace(judgement, rate=0.01)
    parts = []
    for number in range(16):
        shot = ShotResult(number, 0.0, 1.0, 0, 9, 9, 9, 1, 0.3, Status.OK, "")
        part = replace(unscored("a", Status.OK, "", 9, {}), judgement=rare, verdict="likely fake", shots=(shot,))
        parts.append(replace(part, label=0.9 if number == 3 else 0.1))
    index, many = highest(parts)
    assert (index, many.label, len(many.shots)) == (3, 0.9, 16)
    assert many.false_positive_rate == many.judgement.rate == pytest.approx(1 - 0.99**16)
    assert many.verdict == "suspicious"
    assert "the highest of 16 shots" in many.judgement.stratum
    assert highest(parts[:1]) == (0, parts[0])


def test_versions_and_weights_do_not_make_real_videos_more(blurred):
    known = [conditions()] * 10
    (five,) = make_strata(real_scores([0.1] * 10, known, [str(number // 2) for number in range(10)]))
    assert five.rate(0.9) == pytest.approx(1 / 6, abs=1e-6)
    (few,) = make_strata(real_scores([0.1] * 10, known, [str(number) for number in range(10)], [1.0] * 2 + [1e-9] * 8))
    assert few.rate(0.9) == pytest.approx(1 / 3, abs=1e-4), "two real videos have a weight, eight have almost none"


def test_videos_without_a_row_are_left_out_and_rows_of_several_runs_are_refused(run, clip, tmp_path):
    known = {"face_pixels": 90.0, "sharpness": 0.02, "light": 0.4, "bits_per_pixel": 0.1}
    always = {"reason": "", "frames": 9, "faces": 1, "members": {"lite0": 0.1, "lite2": 0.1}, "image": None}
    always |= {"video": None, "seconds": {}, "run": "a", "conditions": known}
    rows = []
    for number in range(200):
        label, status = number / 400 + 0.4 * (number % 3 == 2), "ok" if number else "no_face"
        rows.append(always | {"filename": f"s\udcfc{number}.mp4", "label": label, "status": status})
    names = [f"s%FC{number}.mp4" for number in range(200)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = [f"{name},{row['label']}\n" for name, row in zip([*names, "x"], [*rows, {"label": 0.9}], strict=True)]
    (tmp_path / "s.csv").write_text("filename,label\n" + "".join(table))
    truth = [f"{name},{int(number % 3 == 2)}\n" for number, name in enumerate([*names, "x"])]
    (tmp_path / "t.csv").write_text("filename,label\n" + "".join(truth))
    words = ("-m", "quality.evaluate", tmp_path / "s.csv", tmp_path / "t.csv", "--fit", tmp_path / "c.json",
             "--output", tmp_path / "e", "--rounds", "5")  # fmt: skip
    done = run(*words)
    assert "2 videos without a score or without a row are left out" in done.stdout
    (stratum,) = json.loads((tmp_path / "c.json").read_text())["strata"]
    assert stratum["ranges"].keys() == {"face_pixels", "sharpness", "light", "bits_per_pixel"}
    assert stratum["reals"] == sum(number % 3 != 2 for number in range(1, 200))
    rows[3]["run"] = "b"
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(*words, check=False)
    assert (done.returncode, "the rows come from several runs" in done.stderr) == (2, True)


def test_members_without_a_calibration_use_bands_of_the_score(run, film, weights, tmp_path):
    done = run("-m", "inference.predict", film, "--members", "lite0", "--output", tmp_path / "s.csv",
               "--evidence", tmp_path / "e")  # fmt: skip
    assert "no calibration: verdicts follow fixed bands" in done.stdout
    row = json.loads((tmp_path / "s.jsonl").read_text())
    assert (row["judgement"], row["verdict"]) == (None, "uncertain")
    assert "There is no calibration for these networks" in (tmp_path / "e/film.mp4.html").read_text()


def test_a_face_unlike_all_real_ones_is_uncertain(frames, tmp_path, weights):
    """An image that is darker than all real faces of the sets."""
    write_image(tmp_path / "dark.png", frames[0] // 12)
    with Scorer() as scorer:
        result = scorer.score(tmp_path / "dark.png")
    assert result.status == Status.OK
    assert (result.verdict, result.false_positive_rate) == ("uncertain", None)
    assert "light 0.0" in result.judgement.outside


def test_the_shipped_members_have_a_calibration():
    calibration = calibration_of(SHIPPED, MODELS, None)
    assert calibration is not None
    assert calibration.unit == "faces"
    assert 2 <= len(calibration.strata) <= 8
    for stratum in calibration.strata:
        assert stratum.reals >= ENOUGH
        assert list(stratum.rates) == sorted(stratum.rates, reverse=True)
        assert 1 / (stratum.reals + 2) <= stratum.rates[-1] <= 2 / stratum.reals
    content = json.loads((MODELS / "calibration.json").read_text())
    assert content.keys() == {"members", "unit", "limits", "temperature", "shift", "operating_points", "strata"}


def test_a_calibration_belongs_to_certain_checkpoints(tmp_path):
    lite0 = {"lite0": SHIPPED["lite0"]}
    assert calibration_of(lite0, MODELS, None) is None
    with pytest.raises(BadInputError, match="was made for lite0, lite2, not for lite0"):
        calibration_of(lite0, MODELS, MODELS / "calibration.json")
    with pytest.raises(FileNotFoundError):
        calibration_of(lite0, MODELS, tmp_path / "absent.json")


GOOD = {"ranges": {"light": [0.1, None]}, "reals": 3, "scores": [0.0, 0.5], "rates": [1.0, 0.25]}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        json.dumps({"members": {}, "unit": "faces", "strata": []}),
        json.dumps({"members": {}, "unit": "clips", "strata": [GOOD]}),
        json.dumps({"members": {}, "unit": "faces", "strata": [GOOD | {"scores": [0.1, 0.5]}]}),
        json.dumps({"members": {}, "unit": "faces", "strata": [GOOD | {"rates": [1.0]}]}),
        json.dumps({"members": {}, "unit": "faces", "strata": [GOOD | {"ranges": {"age": [1, 2]}}]}),
        json.dumps({"members": {}, "scores": [0.0], "rates": [1.0]}),  # from an older release
    ],
)
def test_a_file_that_is_not_a_calibration_is_refused(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(BadInputError, match="is not a calibration"):
        read_calibration(path)
    assert calibration_of(SHIPPED, tmp_path, None) is None, "a bad file that nobody asked for does not stop anything"


def test_a_calibration_from_few_real_faces_is_refused(tmp_path):
    """Two real faces once gave rates."""
    path = tmp_path / "calibration.json"
    for reals, taken in ((99, False), (100, True)):
        path.write_text(json.dumps({"members": {}, "unit": "faces", "strata": [GOOD | {"reals": reals}]}))
        if taken:
            assert read_calibration(path).strata[0].reals == 100
        else:
            with pytest.raises(BadInputError, match="was made from 99 real faces: it takes at least 100"):
                read_calibration(path)


def test_a_verdict_speaks_of_what_was_counted():
    judgement = Judgement(0.03, 200, "videos", "")
    assert (
        verdict(Status.OK, 0.9, "", judgement).meaning
        == "Of real videos shown like this one, at most 5 in 100 are expected to score this high."
    )
