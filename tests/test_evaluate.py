"""How good a submission is: measures by hand, intervals by original, calibration, the command on good and bad files."""

import csv
import json
import math

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from quality.evaluate import REPORTED
from quality.measures import (
    MEASURES,
    equal_error_rate,
    expected_calibration_error,
    few_originals,
    intervals,
    measure,
    measures,
    operating_points,
    percentiles,
    recall_at,
    threshold_at,
)
from quality.platt import Platt, fit_platt
from shipped.sets import score_bands
from tests.tiny import write_checkpoints

LABELS = np.array([0, 0, 0, 1, 1])
SCORES = np.array([0.1, 0.4, 0.8, 0.35, 0.9])


def test_measures_by_hand():
    by_name = measures(MEASURES, LABELS, SCORES)
    real, fake = [-math.log(1 - score) for score in (0.1, 0.4, 0.8)], [-math.log(score) for score in (0.35, 0.9)]
    assert by_name["log_loss"] == pytest.approx((sum(real) + sum(fake)) / 5)
    assert by_name["balanced_log_loss"] == pytest.approx((sum(real) / 3 + sum(fake) / 2) / 2)
    assert by_name["auc"] == pytest.approx(4 / 6)  # pairs in the right order: 0.35 > 0.1, 0.9 > all three
    assert by_name["accuracy"] == pytest.approx(3 / 5)
    assert by_name["precision_at_recall_0.5"] == 1
    assert by_name["precision_at_recall_0.9"] == pytest.approx(2 / 4)
    assert by_name["ece"] == pytest.approx((0.1 + 0.4 + 0.8 + 0.65 + 0.1) / 5)  # five bins of one video
    assert by_name["average_precision"] == pytest.approx((1 + 2 / 4) / 2)  # at 0.9 and at 0.35
    assert by_name["recall_at_1_percent"] == by_name["recall_at_5_percent"] == 1 / 2  # 0.9 is above 0.8


def test_confident_mistakes_cost_as_much_as_in_the_contest():
    loss = measure("log_loss", np.array([1, 0]), np.array([0.0, 1.0]))
    assert loss == pytest.approx(-math.log(1e-15), rel=1e-3)


def test_equal_error_rate():
    assert equal_error_rate(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == 0
    assert equal_error_rate(np.array([0, 0, 1, 1]), np.array([0.1, 0.8, 0.2, 0.9])) == pytest.approx(0.5)
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20000)
    assert equal_error_rate(labels, random.normal(labels, 1)) == pytest.approx(
        0.3085, abs=0.01
    )  # normal distribution: P(x > 0.5)


def test_the_equal_error_rate_lies_between_two_thresholds():
    """From 2 of 5 real videos to 3, while one of two fakes is missed: half-way."""
    labels, scores = np.array([1, 0, 0, 0, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.1])
    assert equal_error_rate(labels, scores) == pytest.approx(0.5)


def test_a_score_of_a_half_is_not_called_fake():
    assert measure("accuracy", np.array([0, 0, 1]), np.array([0.5, 0.5, 0.5])) == pytest.approx(2 / 3)


def test_calibrated_scores_have_no_calibration_error():
    assert expected_calibration_error(np.array([0, 1]), np.ones(2)) == 0.5, "a score of 1 counts too"
    random = np.random.default_rng(0)
    scores = random.random(50000)
    labels = (random.random(50000) < scores).astype(int)
    assert expected_calibration_error(labels, scores) < 0.01
    assert expected_calibration_error(labels, np.clip(scores + 0.2, 0, 1)) > 0.1


def test_platt_scaling_undoes_a_known_distortion():
    random = np.random.default_rng(0)
    true = random.random(50000)
    labels = (random.random(50000) < true).astype(int)
    skewed = 1 / (1 + np.exp(-(3 * np.log(true / (1 - true)) + 0.5)))
    fitted = fit_platt(labels, skewed)
    assert fitted.temperature == pytest.approx(3, rel=0.05)
    assert fitted.shift == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(Platt(3, 0.5).apply(skewed), true, atol=0.02)
    with pytest.raises(ValueError, match="nothing to calibrate"):
        fit_platt(1 - labels, skewed)


def test_an_operating_point_holds_for_counted_real_videos():
    """For the real videos that it was fitted on exactly, and for others within its interval."""
    random = np.random.default_rng(0)

    def drawn(videos):
        labels = np.repeat([0, 1], videos)
        return labels, 1 / (1 + np.exp(-random.normal(2 * labels, 1)))

    labels, scores = drawn(2000)
    points = operating_points(labels, scores, np.arange(4000), 100)
    assert [point.false_positives for point in points] == [0.001, 0.01, 0.05, 0.1]
    others, of_others = drawn(20000)
    for point in points:
        real, fake = scores[labels == 0], scores[labels == 1]
        assert point.called_fake == (real > point.threshold).sum() == round(2000 * point.false_positives)
        assert point.recall == np.mean(fake > point.threshold)
        assert point.low <= point.threshold <= point.high
        rates = [np.mean(of_others[others == 0] > edge) for edge in (point.high, point.low)]
        if point.resolved:
            assert rates[0] <= point.false_positives <= rates[1]
    assert [point.resolved for point in points] == [False, True, True, True], "two real videos are not enough"
    with pytest.raises(ValueError, match=r"^an operating point needs videos of both classes$"):
        operating_points(labels[:50], scores[:50], np.arange(50), 10)


def test_ten_real_videos_above_a_threshold_resolve_it():
    labels = np.repeat([0, 1], [100, 1])
    points = operating_points(labels, np.linspace(0, 1, 101), np.arange(101), 1)
    assert [point.resolved for point in points] == [False, False, False, True]


def test_an_operating_points_interval_leaves_out_draws_without_a_real_video():
    """Half of the draws of two originals: the threshold is the real one's score in all others."""
    points = operating_points(np.array([0, 1]), np.array([0.25, 0.75]), np.arange(2), 20)
    assert [(point.low, point.threshold, point.high) for point in points] == [(0.25, 0.25, 0.25)] * 4


@pytest.mark.filterwarnings("error")
def test_a_threshold_needs_a_real_video_and_a_rate_below_one():
    assert threshold_at(LABELS, SCORES, 0.0) == 0.8
    assert threshold_at(LABELS, SCORES, 1 / 3) == 0.4  # one of three real videos exceeds it
    assert recall_at(LABELS, SCORES, 0.0) == 1 / 2
    assert math.isnan(recall_at(np.zeros(2, int), SCORES[:2], 0.05))
    assert recall_at(np.array([0, 0, 1, 1]), np.array([0.3, 0.5, 0.5, 0.7]), 0.4) == 1 / 2, "a tie is not above"
    for function in (threshold_at, recall_at):
        with pytest.raises(ValueError, match=r"^a threshold for a false-positive rate needs at least one real video$"):
            function(np.ones(2, int), SCORES[:2], 0.05)
        with pytest.raises(ValueError, match=r"must be in \[0, 1\), not 1"):
            function(LABELS, SCORES, 1.0)


def test_names_that_are_not_utf8_are_read_as_predict_wrote_them(run, tmp_path):
    for name in ("scores", "truth"):
        (tmp_path / f"{name}.csv").write_bytes(b"filename,label\n\xff.mp4,1\nb.mp4,0\n")
    done = run("-m", "quality.evaluate", tmp_path / "scores.csv", tmp_path / "truth.csv", "--output", tmp_path / "out")
    assert "evaluate: 2 videos, 0 without known truth" in done.stdout


@pytest.mark.filterwarnings("error")
def test_one_class_leaves_measures_undefined():
    assert measure("auc", np.array([0, 1]), np.array([0.1, 0.9])) == 1, "one of each is enough"
    assert math.isnan(measure("auc", np.ones(2, int), np.array([0.1, 0.9])))
    only_real = measures(MEASURES, np.zeros(3, int), np.array([0.1, 0.2, 0.3]))
    assert [name for name, value in only_real.items() if math.isnan(value)] == [
        "balanced_log_loss", "auc", "average_precision", "eer",
        "precision_at_recall_0.1", "precision_at_recall_0.5", "precision_at_recall_0.9",
        "recall_at_1_percent", "recall_at_5_percent",
    ]  # fmt: skip


def test_few_originals_give_no_interval_to_trust(run, files):
    """Two videos that are told apart once had an AUC of 1, from 1 to 1."""
    assert few_originals(np.array(["a", "b"] * 30)) == (
        "The intervals mean nothing: they come from only 2 originals, and take 20 or more."
    )
    single = "The intervals mean nothing: they come from a single original, and take 20 or more."
    assert few_originals(np.array(["a", "a"])) == single
    assert few_originals(np.arange(20)) == ""
    assert "evaluate: The intervals mean nothing: " in evaluate(run, files, "metadata.json").stdout


def test_an_interval_leaves_out_a_fortieth_at_each_end():
    assert percentiles(np.append(np.arange(1001.0), math.nan)) == (25, 975)


def test_each_draw_takes_as_many_originals_as_there_are():
    groups = np.repeat(range(3), 2)
    drawn = intervals(lambda labels, _: {"videos": len(labels)}, np.zeros(6, int), np.zeros(6), groups, 50)
    assert drawn == {"videos": (6, 6)}


def test_intervals_draw_originals_not_videos():
    def statistics(labels, scores):
        return measures(["log_loss"], labels, scores)

    random = np.random.default_rng(0)
    labels = np.tile([0, 1], 100)
    scores = np.clip(random.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    alone = intervals(statistics, labels, scores, np.arange(200), 200)["log_loss"]
    together = intervals(statistics, labels, scores, np.zeros(200), 20)["log_loss"]
    loss = measure("log_loss", labels, scores)
    assert together == (pytest.approx(loss), pytest.approx(loss))  # there is only one original to draw
    assert alone[0] < loss < alone[1]
    spread = np.std(
        [-math.log(score if label else 1 - score) for label, score in zip(labels, scores, strict=True)]
    ) / math.sqrt(200)
    assert alone[1] - alone[0] == pytest.approx(2 * 1.96 * spread, rel=0.3)


@pytest.fixture
def files(tmp_path):
    """A submission of five videos and an unknown one, its statuses, and the truth in both formats."""
    names = [f"v{number}.mp4" for number in range(5)]
    rows = [f"{name},{score}" for name, score in zip(names, SCORES, strict=True)]
    (tmp_path / "submission.csv").write_text("\n".join(["filename,label", *rows, "unknown.mp4,0.5"]) + "\n")
    statuses = [{"filename": name, "status": "no_face" if name == "v1.mp4" else "ok"} for name in names]
    (tmp_path / "submission.jsonl").write_text("".join(json.dumps(row) + "\n" for row in statuses))
    truth = {name: {"label": ("REAL", "FAKE")[label]} for name, label in zip(names, LABELS, strict=True)}
    truth["v3.mp4"]["original"] = "v0.mp4"
    (tmp_path / "metadata.json").write_text(json.dumps(truth))
    (tmp_path / "labels.csv").write_text(
        "filename,label,original,subset\n"
        + "".join(f"{name},{label},,s{label}\n" for name, label in zip(names, LABELS, strict=True))
    )
    return tmp_path


def evaluate(run, files, truth, *more, **options):
    return run(
        "-m",
        "quality.evaluate",
        files / "submission.csv",
        files / truth,
        "--output",
        files / "out",
        "--rounds",
        50,
        *more,
        **options,
    )


def test_the_command_reports_everything(run, files):
    done = evaluate(run, files, "metadata.json")
    assert "evaluate: 5 videos, 1 without known truth left out" in done.stdout
    report = json.loads((files / "out/evaluation.json").read_text())
    assert set(report) == {"all", "status no_face", "status ok"}
    assert report["all"]["auc"] == pytest.approx(4 / 6)
    assert list(report["all"]) == ["videos", *REPORTED, "intervals_95"]
    low, high = report["all"]["intervals_95"]["accuracy"]
    assert low <= 3 / 5 <= high
    assert (report["status no_face"]["videos"], report["status no_face"]["auc"]) == (1, None)
    for name in ("roc", "reliability", "histogram"):
        assert cv2.imread(str(files / f"out/{name}.png")).shape == (600, 600, 3)
    first = (files / "out/evaluation.json").read_bytes()
    evaluate(run, files, "metadata.json")
    assert (files / "out/evaluation.json").read_bytes() == first
    evaluate(run, files, "labels.csv")
    assert {"subset s0", "subset s1"} < set(json.loads((files / "out/evaluation.json").read_text()))


def test_a_calibration_that_was_fitted_can_be_applied(run, files):
    (files / "submission.jsonl").unlink()  # as for a score file from elsewhere
    done = evaluate(run, files, "metadata.json", "--fit", files / "calibration.json", check=False)
    assert (done.returncode, "takes at least 100 real videos, not 3" in done.stderr) == (2, True)
    copies = [(f"{number}-{copy}.mp4", number) for copy in range(40) for number in range(5)]
    lines = [f"{name},{SCORES[number]}" for name, number in copies]
    (files / "submission.csv").write_text("\n".join(["filename,label", *lines]) + "\n")
    (files / "metadata.json").write_text(json.dumps({name: {"label": int(LABELS[number])} for name, number in copies}))
    fitted = evaluate(run, files, "metadata.json", "--fit", files / "calibration.json")
    before = json.loads((files / "out/evaluation.json").read_text())["all"]
    assert "intervals mean nothing" not in fitted.stdout
    content = json.loads((files / "calibration.json").read_text())
    assert set(content) == {"members", "unit", "limits", "temperature", "shift", "operating_points", "strata"}
    assert (content["members"], [stratum["reals"] for stratum in content["strata"]]) == ({}, [120])
    point = content["operating_points"][-1]
    assert (point["false_positives"], point["threshold"], point["called_fake"]) == (0.1, 0.8, 0)
    assert point["recall"] == 0.5
    evaluate(run, files, "metadata.json", "--apply", files / "calibration.json")
    after = json.loads((files / "out/evaluation.json").read_text())["all"]
    assert after["log_loss"] < before["log_loss"]
    assert after["auc"] == before["auc"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("submission.csv", "name,score\na,1\n", "submission.csv has the columns "),
        ("submission.csv", "filename,label\nv0.mp4,nan\n", "has no score in [0, 1]: nan"),
        ("submission.csv", "filename,label\nv0.mp4,.1\nv0.mp4,.1\n", "submission.csv:3: v0.mp4 comes twice"),
        ("submission.csv", "filename,label\nother.mp4,.1\n", "have no video in common"),
        ("metadata.json", "[1]", "each video needs a filename and a label"),
        ("metadata.json", '{"v0.mp4": {"label": "MAYBE"}}', "each video needs a filename and a label"),
        ("metadata.json", "{", "each video needs a filename and a label"),
    ],
)
def test_bad_files_are_refused(run, files, name, content, complaint):
    (files / name).write_text(content)
    done = evaluate(run, files, "metadata.json", check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (files / "out").exists()


# Sets of crops


@pytest.fixture
def sets(tmp_path, frames):
    """Two sets with the truth of their lists: one with two manipulations, and one of real faces in two groups."""
    rows = {
        "mixed_val": [
            (f"m/{kind[:2]}{index}", int(kind != ""), kind) for kind in ("", "Swap", "Talk") for index in range(6)
        ],
        "real_val": [(f"r/v{index}", 0, ("A", "B")[index % 2]) for index in range(8)],
    }
    for number, (name, crops) in enumerate(rows.items()):
        lines, truth = [], [f"filename,label,original,subset,{('method', 'race')[number]}"]
        for index, (folder, label, kind) in enumerate(crops):
            path = tmp_path / f"faces/{folder}/frame1_face1.jpg"
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), cv2.convertScaleAbs(frames[index % 12][60:284, 200:424], alpha=0.4 + 0.07 * index))
            lines.append(f"{folder}/frame%d_face1.jpg 1 1 1 {label}")
            truth.append(f"{folder}/frame1_face1.jpg,{label},{folder},s,{kind}")
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{name}.csv").write_text("\n".join(truth) + "\n")
    write_checkpoints(tmp_path / "models", ["lite0", "lite2"])
    return tmp_path


def test_the_table_has_rows_for_sets_manipulations_and_groups(run, sets):
    where = ("--lists", sets, "--faces", sets / "faces", "--models", sets / "models", "--output", sets / "out")
    done = run("-m", "shipped.sets", "--sets", "mixed_val,real_val", *where)
    rows = {(row["set"], row["part"]): row for row in json.loads((sets / "out/sets.json").read_text())}
    parts = ["", "method Swap", "method Talk"]
    groups = ["", "race A", "race B"]
    assert set(rows) == {("mixed_val", part) for part in parts} | {("real_val", part) for part in groups}
    with (sets / "out/mixed_val.csv").open(newline="") as file:
        scores = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    real = np.array([score for name, score in scores.items() if name.split("/")[1][0].isdigit()])
    assert len(real) == 6
    for kind in ("Sw", "Ta"):
        fake = np.array([score for name, score in scores.items() if name.startswith(f"m/{kind}")])
        row = rows["mixed_val", f"method {'Swap' if kind == 'Sw' else 'Talk'}"]
        assert (row["crops"], row["real"]) == (12, 6)
        assert row["auc"] == pytest.approx(roc_auc_score([0] * 6 + [1] * 6, [*real, *fake]))
        assert row["found"] == pytest.approx(np.mean(fake > real.max()))
        assert row["real_above_half"] == pytest.approx(np.mean(real > 0.5))
        for figure, (low, high) in row["intervals"].items():
            assert low <= row[figure] <= high or figure == "found", figure  # which is drawn to one side
            assert low < high or row[figure] in (0, 1), figure
    assert rows["real_val", "race A"]["crops"] == rows["real_val", "race B"]["real"] == 4
    assert rows["real_val", ""]["auc"] is None
    order = [row["part"] for row in json.loads((sets / "out/sets.json").read_text()) if row["set"] == "mixed_val"]
    assert rows["mixed_val", order[1]]["auc"] <= rows["mixed_val", order[2]]["auc"]  # worst first
    assert "sets: 2; mean of 1: AUC" in done.stdout
    assert done.stdout.count("\n| ") == 6 + 6
    labels, values = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.3, 0.5, 0.9, 0.85, 0.95])
    lines = score_bands([(labels, values), (np.zeros(2), np.array([0.1, 0.3]))]).splitlines()
    assert lines[2:] == [
        # Fake: all fakes and a quarter of the real faces, 1 / 1.25. Real: of one set a quarter, of the other none.
        "| 0.8 to 1 | 80% | 12% |",
        "| 0.6 to 0.8 |  | 12% |",
        "| 0.4 to 0.6 | 0% | 25% |",
        "| 0.2 to 0.4 | 0% | 62% |",
        "| 0 to 0.2 | 0% | 100% |",
    ]
    empty = run("-m", "shipped.sets", "--lists", sets / "faces", check=False)
    assert (empty.returncode, "run make_crop_lists.py first" in empty.stderr) == (2, True)
    (sets / "real_val.csv").write_text("filename,label\nr/v0/frame1_face1.jpg,0\n")
    short = run("-m", "shipped.sets", "--sets", "real_val", *where, check=False)
    assert (short.returncode, "lacks 7 crops of its list" in short.stderr) == (2, True)
    (sets / "videos").mkdir()
    (sets / "videos/sf_bc_jc_44000.pth.tar").touch()
    words = ("--sets", "mixed_val", "--lists", sets, "--members", "sf1", "--models", sets / "videos")
    clips = run("-m", "shipped.sets", *words, check=False)
    assert (clips.returncode, "sf1 need clips; choose image members for crops" in clips.stderr) == (2, True)


@pytest.mark.parametrize("line", ["{", "[1]", '{"label": 1}', "", '{"filename": 5, "status": "ok"}', "\udcff"])
def test_a_damaged_row_beside_a_submission_is_named(run, files, line):
    with (files / "submission.jsonl").open("ab") as rows:
        rows.write(line.encode(errors="surrogateescape") + b"\n")
    done = evaluate(run, files, "metadata.json", check=False)
    number = len((files / "submission.jsonl").read_bytes().splitlines())
    assert done.returncode == 2
    assert f"submission.jsonl:{number} is not a row of inference.predict" in done.stderr


def test_videos_of_the_truth_that_a_submission_lacks_are_counted(run, files):
    lines = (files / "submission.csv").read_text().splitlines()
    (files / "submission.csv").write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
    assert ", 1 of the truth not in submission.csv;" in evaluate(run, files, "metadata.json").stdout
