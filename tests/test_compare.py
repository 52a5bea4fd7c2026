"""Two submissions compared: DeLong's test, the bootstrap, and the verdicts that flipped."""

import csv
import json
import math
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.errors import BadInputError
from quality.compare import compare, delong


@pytest.fixture
def videos():
    """Sixty videos of twenty originals with two scores each, of which the second is better. Some scores tie."""
    random = np.random.RandomState(0)
    labels = np.tile([0, 1, 1], 20)
    first = np.round(np.clip(0.4 + 0.1 * labels + random.normal(0, 0.2, 60), 0, 1), 2)
    second = np.round(np.clip(0.3 + 0.4 * labels + random.normal(0, 0.2, 60), 0, 1), 2)
    return labels, first, second, np.repeat([f"o{number}" for number in range(20)], 3)


def delong_by_pairs(labels, a, b):
    """DeLong's p-value from every pair of a fake and a real, as the paper writes it (equations 3 to 8)."""

    def kernel(scores):
        fake, real = scores[labels == 1], scores[labels == 0]
        return (fake[:, None] > real).astype(float) + 0.5 * (fake[:, None] == real)

    kernels = [kernel(scores) for scores in (a, b)]
    areas = [pairs.mean() for pairs in kernels]
    total = np.zeros((2, 2))
    for axis in (1, 0):
        parts = [pairs.mean(axis=axis) - area for pairs, area in zip(kernels, areas, strict=True)]
        count = len(parts[0])
        total += np.array([[np.sum(x * y) / (count - 1) / count for y in parts] for x in parts])
    z = (areas[1] - areas[0]) / math.sqrt(total[0, 0] + total[1, 1] - 2 * total[0, 1])
    return 2 * NormalDist().cdf(-abs(z))


def test_delongs_test_agrees_with_the_paper_and_tells_a_difference_from_none(videos):
    labels, first, second, originals = videos
    assert delong(labels, first, second) == pytest.approx(delong_by_pairs(labels, first, second), rel=1e-9)
    assert delong(labels, first, second) == pytest.approx(delong(labels, second, first))
    assert delong(labels, first, second) < 0.01
    assert delong(labels, first, first) == 1
    assert delong(labels, labels / 1.0, np.full(60, 0.5)) == 0, "a perfect score and a constant one"
    noisy = np.clip(first + np.random.RandomState(1).normal(0, 0.02, 60), 0, 1)
    assert delong(labels, first, noisy) > 0.05
    better = compare(labels, first, second, originals, 0.5, 200)
    assert better.auc_a == pytest.approx(roc_auc_score(labels, first))
    assert better.difference == pytest.approx(roc_auc_score(labels, second) - roc_auc_score(labels, first))
    assert 0 < better.low < better.difference < better.high
    same = compare(labels, first, noisy, originals, 0.5, 200)
    assert same.low < 0 < same.high
    with pytest.raises(BadInputError, match="at least two videos of each class"):
        compare(labels[:3], first[:3], second[:3], originals[:3], 0.5, 10)


def test_the_command_names_what_flipped(run, tmp_path):
    labels = {"r1": 0, "r2": 0, "r3": 0, "f1": 1, "f2": 1, "f3": 1}
    a = {"r1": 0.1, "r2": 0.6, "r3": 0.2, "f1": 0.4, "f2": 0.9, "f3": 0.3, "unknown": 0.5}
    b = {"r1": 0.7, "r2": 0.3, "r3": 0.2, "f1": 0.8, "f2": 0.9, "f3": 0.3}
    truth = tmp_path / "truth.csv"
    truth.write_text("filename,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items()))
    (tmp_path / "a.csv").write_text("filename,label\n" + "".join(f"{name},{score}\n" for name, score in a.items()))
    lines = [f"own,{name},,{labels[name]},{score},ok" for name, score in b.items()]
    (tmp_path / "b.csv").write_text("\n".join(["dataset,key,compression,label,score,status", *lines]) + "\n")
    words = ["-m", "quality.compare", tmp_path / "a.csv", tmp_path / "b.csv", truth, "--output", tmp_path / "out"]
    done = run(*words, "--rounds", "50")
    comparison = json.loads((tmp_path / "out/comparison.json").read_text())
    assert (comparison["videos"], comparison["flipped"], comparison["mended"]) == (6, 3, 2)
    with (tmp_path / "out/flipped.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["filename"], row["label"], float(row["a"]), float(row["b"])) for row in rows] == [
        ("r1", "0", 0.1, 0.7),
        ("f1", "1", 0.4, 0.8),
        ("r2", "0", 0.6, 0.3),
    ]
    assert "verdicts flipped: 3, of which 2 became right" in done.stdout
    assert "compare: 6 videos, 1 left out" in done.stdout
    truth.write_text("filename,label\nother,0\n")
    assert "have no video in common" in run(*words, check=False).stderr
