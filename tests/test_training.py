"""The training modules against the reference's numbers: order, schedule, metrics, lists, configs."""

import hashlib
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from common.errors import BadInputError
from image_based.config import ImageConfig
from tests.conftest import ROOT
from training.config import ConfigError, LRScheduler, load_config
from training.engine import make_criterion
from training.face_tracks import FaceTrack, parse_line, read_list
from training.metrics import VideoScore, auc, log_loss, summarise, video_scores
from training.sampler import TrainingSampler, training_order, validation_slice
from training.schedule import lr_at

CONFIG = ROOT / "image_based/configs/b0/config.yaml"


# Order, schedule, metrics


def test_training_order(values):
    for case in values["given_iteration_sampler"]:
        orders = training_order([(case["n"], 1.0)], case["total_iter"], case["batch"], case["world"])
        assert orders[0][:24].tolist() == case["rank0_first24"]
        assert orders[-1][:24].tolist() == case["rankLast_first24"]
        joined = np.concatenate(orders).astype("<i8")
        assert hashlib.sha256(joined.tobytes()).hexdigest() == case["sha256_int64_all_ranks"]


def test_validation_slices(values):
    """The reference's slices without the repeated samples: each sample once, whatever the number of ranks."""
    for case in values["val_distributed_sampler_round_up"]:
        for rank, share in enumerate(case["ranks"]):
            assert validation_slice(case["n"], rank, case["world"]) == share
    for samples, world in ((10, 1), (10, 3), (10, 4), (3, 8)):
        shares = [validation_slice(samples, rank, world) for rank in range(world)]
        assert sorted(sample for share in shares for sample in share) == list(range(samples))


def test_a_resumed_sampler_goes_on_where_the_other_stopped():
    whole = list(TrainingSampler([(10, 1.0)], max_iter=7, batch=4, ranks=range(1, 2), reference=2))
    assert (
        list(TrainingSampler([(10, 1.0)], max_iter=7, batch=4, ranks=range(1, 2), reference=2, start=3))
        == whole[3 * 4 :]
    )
    assert [position for position, _ in whole] == list(range(28, 56))


def test_one_process_takes_what_two_would_in_each_step():
    both = [list(TrainingSampler([(10, 1.0)], 7, 4, range(rank, rank + 1), 2)) for rank in (0, 1)]
    alone = TrainingSampler([(10, 1.0)], 7, 4, range(2), 2)
    steps = [both[rank][step * 4 : step * 4 + 4] for step in range(7) for rank in (0, 1)]
    assert list(alone) == [pair for batch in steps for pair in batch]
    assert list(alone.of_step(3)) == steps[6] + steps[7]
    assert len(alone) == 56


def test_samples_that_stay_together_share_a_batch_and_a_position():
    pairs = list(TrainingSampler([(10, 1.0)], max_iter=7, batch=4, ranks=range(2), reference=2, together=2))
    assert len(pairs) == 56
    for (first, fake), (second, real) in zip(pairs[::2], pairs[1::2], strict=True):
        assert (first, fake + 1, fake % 2) == (second, real, 0)
    assert len({position for position, _ in pairs}) == 28
    counts = Counter(sample for _, sample in pairs)
    assert set(counts) == set(range(10))
    assert max(counts.values()) - min(counts.values()) <= 1
    with pytest.raises(BadInputError, match="9 samples do not make groups of 2"):
        TrainingSampler([(9, 1.0)], 7, 4, range(2), 2, together=2)
    with pytest.raises(ConfigError, match="batch_size: 9 is not a multiple of together, 2"):
        load_config(CONFIG, ImageConfig, ["batch_size=9", "together=2"])
    with pytest.raises(ConfigError, match=r"mixup: 1\.5: Input should be less than or equal to 1"):
        load_config(CONFIG, ImageConfig, ["together=2", "mixup=1.5"])
    with pytest.raises(ConfigError, match="mixup needs together: 2"):
        load_config(CONFIG, ImageConfig, ["mixup=.5"])


def test_each_list_fills_its_share():
    """Three lists of 10, 40 and 6 samples in pairs; samples of a list are drawn equally often, give or take one."""
    parts = [(10, 0.5), (40, 0.3), (6, 0.2)]
    order = training_order(parts, max_iter=25, batch=8, world=2, together=2)
    assert order.shape == (2, 200)
    assert np.array_equal(order.ravel()[1::2], order.ravel()[::2] + 1)
    counts = Counter(order.ravel().tolist())
    assert set(counts) == set(range(56))
    for first, last, drawn in ((0, 10, 200), (10, 50, 120), (50, 56, 80)):
        times = [counts[sample] for sample in range(first, last)]
        assert sum(times) == drawn
        assert max(times) - min(times) <= 1
    halves = [np.mean(half < 10) for half in np.split(order.ravel(), 2)]
    assert halves == pytest.approx([0.5, 0.5], abs=0.1)  # mixed, not one list after another


def test_learning_rate(values):
    schedules = {
        "b0_b1": LRScheduler(0.01, 0.03, 1000, [15000, 25000, 35000, 45000], [0.5] * 4, 60002),
        "b1_long": LRScheduler(0.01, 0.03, 1000, [20000, 30000, 40000, 55000], [0.5] * 4, 90002),
        "b3": LRScheduler(0.01, 0.04, 1000, [15000, 25000, 35000, 45000], [0.5] * 4, 60002),
        "r34": LRScheduler(0.001, 0.02, 1000, [10000, 15000, 20000, 25000], [0.5] * 4, 30001),
        "xcep": LRScheduler(0.01, 0.05, 1000, [20000, 30000, 40000, 50000], [0.5] * 4, 60002),
        "sf": LRScheduler(0.002, 0.05, 1000, [15000, 25000, 35000, 45000], [0.5] * 4, 55001),
        "sf_alldata": LRScheduler(0.002, 0.05, 1000, [20000, 30000, 40000, 50000], [0.5] * 4, 60000),
    }
    assert schedules.keys() == values["lr"].keys()
    for name, schedule in schedules.items():
        for step, lr in values["lr"][name].items():
            assert lr_at(int(step), schedule) == pytest.approx(lr, rel=1e-12)
    assert load_config(CONFIG, ImageConfig).lr_scheduler == schedules["b0_b1"]


def test_a_cosine_schedule_falls_to_zero():
    schedule = LRScheduler(0.002, 0.03, 200, [], [], 1200, cosine=True)
    assert [lr_at(step, schedule) for step in (0, 100, 200)] == [0.002, pytest.approx(0.016), 0.03]
    assert lr_at(700, schedule) == pytest.approx(0.015)
    assert lr_at(1200, schedule) == pytest.approx(0)
    assert lr_at(700, LRScheduler(0.002, 0.03, 200, [], [], 1200)) == 0.03


def test_log_losses_by_hand():
    frames = [("a", 1, 0.9), ("b", 0, 0.2), ("a", 1, 0.7), ("c", 0, 0.0)]
    scores = video_scores(frames)
    assert scores == {"a": (1, pytest.approx(0.8)), "b": (0, 0.2), "c": (0, 0.0)}
    real, fake = -math.log(0.8) / 2, -math.log(0.8)
    assert summarise(scores) == pytest.approx(
        {
            "video_logloss": (2 * real + fake) / 3,
            "video_logloss_REAL": real,
            "video_logloss_FAKE": fake,
            "video_logloss_balanced": (real + fake) / 2,
        }
    )
    assert log_loss([VideoScore(1, 0.0)]) == pytest.approx(-math.log(1e-15))
    assert log_loss([VideoScore(0, 1.0)]) == pytest.approx(-math.log(1e-15), rel=1e-3)  # 1 - 1e-15 is not exact
    assert all(map(math.isnan, summarise({}).values()))
    assert math.isnan(summarise({"a": VideoScore(1, math.nan), "b": VideoScore(0, 0.1)})["video_logloss_balanced"])
    assert summarise({"a": VideoScore(1, 0.5)})["video_logloss_balanced"] == pytest.approx(math.log(2))


def test_the_auc_is_that_of_scikit_learn_and_needs_both_labels():
    """Many scores tie, as they do early in a training."""
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 2, 200), random.integers(0, 9, 200) / 8
    scores = [VideoScore(int(label), float(score)) for label, score in zip(labels, probabilities, strict=True)]
    assert auc(scores) == pytest.approx(roc_auc_score(labels, probabilities), abs=1e-12)
    assert auc([VideoScore(0, 0.2), VideoScore(1, 0.2), VideoScore(1, 0.3)]) == 0.75, "a tie counts half"
    assert [math.isnan(auc([VideoScore(label, 0.5)])) for label in (0, 1)] == [True, True]


# Lists and configs


def test_list_line():
    track = parse_line("part_0/a video/frame%d_face2.png 1 30 10 1")
    assert track == FaceTrack("part_0/a video/frame%d_face2.png", 1, 30, 10, 1)
    assert track.video == "part_0/a video"
    assert [track.frame(0), track.frame(9)] == ["part_0/a video/frame1_face2.png", "part_0/a video/frame271_face2.png"]


@pytest.mark.parametrize(
    "line",
    ["", "p/v/frame%d_face1.png 1 30 10", "p/v/frame1.png 1 30 10 1", "p/v/frame%d.png 1 0 10 1",
     "p/v/frame%d.png 1 1 1 2", "../v/frame%d.png 1 1 1 1", "/p/v/frame%d.png 1 1 1 1", "p/v/frame%d.png a b c d"],
)  # fmt: skip
def test_bad_list_lines_are_named(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"p/v/frame%d_face1.png 1 30 10 1\n{line}\n")
    with pytest.raises(BadInputError, match=r"list\.txt:2"):
        read_list(path)


def test_odd_names_and_a_byte_order_mark_do_not_break_a_list(tmp_path):
    """Names as stage 4 writes them: U+2028, U+0085 and form feed do not end a line."""
    name = "a\u2028b\x85c\x0cd"
    (tmp_path / "l.txt").write_text(f"\ufeffp/{name}/frame%d_face1.png 1 1 2 1\np/v/frame%d_face1.png 1 1 1 0\n")
    first, second = read_list(tmp_path / "l.txt")
    assert (first.video, first.count, second.video) == (f"p/{name}", 2, "p/v")
    (tmp_path / "l.txt").write_bytes("p/é/frame%d_face1.png 1 1 2 1\n".encode("latin-1"))
    with pytest.raises(BadInputError, match=r"l\.txt:1: not UTF-8"):
        read_list(tmp_path / "l.txt")


def test_b0_config_has_the_values_of_the_reference():
    config = load_config(CONFIG, ImageConfig)
    assert (config.arch, config.batch_size, config.reference_world_size) == ("efficientnet-b0", 16, 8)
    assert (config.momentum, config.nesterov, config.weight_decay, config.positive_weight) == (0.9, True, 1e-4, 0.1)
    assert (config.input_size, config.min_scale, config.color, config.workers) == (299, 0.88, "rgb", 1)
    assert (config.print_freq, config.val_freq, config.save_path) == (100, 2000, "b0_aug_rgb_299")
    assert make_criterion(config, torch.device("cpu")).weight.tolist() == pytest.approx([1.8, 0.2])


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("batchsize=8", "unknown key 'batchsize', the nearest known one is 'batch_size'"),
        ("lr_schedule.max_iter=8", "the nearest known one is 'lr_scheduler'"),
        ("lr_scheduler.maxiter=8", "the nearest known one is 'max_iter'"),
        ("batch_size=many", "batch_size: 'many': Input should be a valid integer"),
        ("batch_size", "is not key=value"),
        ("nesterov=1", "nesterov: 1: Input should be a valid boolean"),
        ("color=BGR", "color: 'BGR': Input should be 'rgb' or 'bgr'"),
        ("lr_scheduler.lr_mults=[0.5]", "lr_steps and lr_mults differ in length"),
        ("mean=[1]", "mean: [1]: List should have at least 3 items"),
        ("val_lists={a: null}", "val_lists.a: None: Input should be a valid string"),
        ("print_freq=0", "print_freq: 0: Input should be greater than 0"),
        ("mean=[a]", "mean.0: 'a': Input should be a valid number"),
        ("mean=3", "mean: 3: Input should be a valid array"),
        ("val_lists=3", "val_lists: 3: Input should be an object"),
        ("pretrained=3", "pretrained: 3: Input should be a valid string"),
    ],
)
def test_a_wrong_override_names_the_nearest_key(override, complaint):
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_config(CONFIG, ImageConfig, [override])


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "+1.e-4", ".1e-3", "0.0001"])
def test_numbers_are_numbers_however_they_are_written(tmp_path, text):
    assert load_config(CONFIG, ImageConfig, [f"weight_decay={text}"]).weight_decay == 1e-4
    values = CONFIG.read_text().replace("weight_decay: 0.0001", f"weight_decay: {text}")
    (tmp_path / "c.yaml").write_text(values)
    assert load_config(tmp_path / "c.yaml", ImageConfig).weight_decay == 1e-4


def test_what_only_begins_like_a_number_is_text():
    for name in ("1e-4_run", "12e3abc"):
        assert load_config(CONFIG, ImageConfig, [f"save_path={name}"]).save_path == name


def test_a_merge_may_repeat_a_key(tmp_path):
    again = "lr_scheduler:\n  <<: {base_lr: 0.5, warmup_lr: 0.03, warmup_steps: 1, lr_steps: [], lr_mults: []}\n"
    start, _, rest = CONFIG.read_text().partition("lr_scheduler:")
    end = rest[rest.index("\n\n") :]
    (tmp_path / "c.yaml").write_text(f"{start}{again}  base_lr: 0.25\n  max_iter: 3{end}")
    assert load_config(tmp_path / "c.yaml", ImageConfig).lr_scheduler == LRScheduler(0.25, 0.03, 1, [], [], 3)


def test_a_list_as_a_key_is_a_config_error():
    with pytest.raises(ConfigError, match="unhashable key"):
        load_config(CONFIG, ImageConfig, ["val_lists={[a]: b}"])


def test_a_key_given_twice_is_an_error(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG.read_text() + "seed: 1\n")
    with pytest.raises(ConfigError, match="the key 'seed' is given twice"):
        load_config(tmp_path / "c.yaml", ImageConfig)


def test_unknown_and_missing_keys_of_a_file(tmp_path):
    values = yaml.safe_load(CONFIG.read_text())
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(values | {"wieght_decay": 1}))
    with pytest.raises(ConfigError, match="unknown key 'wieght_decay', the nearest known one is 'weight_decay'"):
        load_config(path, ImageConfig)
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if key != "seed"}))
    with pytest.raises(ConfigError, match="missing seed"):
        load_config(path, ImageConfig)
    path.write_text("a: [")
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(path, ImageConfig)
