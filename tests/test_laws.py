"""Laws that hold for every input, not only for the examples of the other tests; hypothesis looks for exceptions.

What is drawn does not change from run to run.
"""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.command import Shard
from common.spread import spread
from common.status import Status
from faces.boxes import format_boxes, iou_plus_one, parse_boxes
from faces.crops import align_track, bounding_square, cut, plan_crops
from faces.tracking import SAME_FACE_IOU, Detection, fill_track, link_tracks, track_faces
from inference.results import FaceResult, Result, utf8_name
from inference.sampling.sampled import Conditions
from inference.scoring import (
    GROUP,
    IMAGE_FRAMES,
    Vote,
    ensemble,
    face_score,
    group_score,
    image_frames,
    sampling_interval,
    squeeze,
)
from inference.verdicts import Calibration, Judgement, VerdictName, read_calibration, verdict
from make_lists import SIDES, list_rules
from preprocessing.labels import LabelledVideo
from quality.calibration import make_strata, real_scores, write_calibration
from training.config import LRScheduler
from training.sampler import TrainingSampler, validation_slice
from training.schedule import lr_at

SCORES = st.floats(0, 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


# Boxes, tracks, crops


@st.composite
def boxes(draw, width=640, height=480):
    """A box [x1, y1, x2, y2] whose corners may lie outside a frame, as a detector gives them."""
    x1, y1 = draw(st.integers(-40, width - 2)), draw(st.integers(-40, height - 2))
    return [x1, y1, x1 + draw(st.integers(1, width)), y1 + draw(st.integers(1, height))]


@st.composite
def frames_of_boxes(draw):
    """Detections of up to eight frames, float32 [N, 5] each."""
    frames = draw(
        st.lists(st.lists(st.tuples(boxes(), st.floats(0.5, 1, width=32)), max_size=5), min_size=1, max_size=8)
    )
    return [np.array([[*box, score] for box, score in frame], np.float32).reshape(-1, 5) for frame in frames]


@given(frames_of_boxes())
def test_every_track_is_made_of_detections_that_follow_each_other(detections):
    tracking = track_faces(detections)
    shown = [{tuple(map(int, row[:4])) for row in frame if row[4] >= 0.8} for frame in detections]
    assert len(tracking.tracks) <= tracking.voted_faces
    assert [len(track) for track in tracking.tracks] == sorted(map(len, tracking.tracks), reverse=True)
    for track in tracking.tracks:
        assert [detection.frame for detection in track] == sorted({detection.frame for detection in track})
        assert all(detection.box in shown[detection.frame] for detection in track)
        for before, after in pairwise(track):
            assert iou_plus_one(np.array(before.box, float), np.array([after.box], float))[0] >= SAME_FACE_IOU


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(-4, 4)), max_size=4, unique_by=lambda face: face[0])),
    st.randoms(use_true_random=False),
)
def test_the_order_of_faces_that_stand_apart_does_not_matter(frames, random):
    """Up to four faces, 150 pixels apart, that move by a few pixels and come and go."""

    def tracked(in_order):
        arrays = [[[150 * at + move, 50, 150 * at + move + 80, 150, 0.9] for at, move in frame] for frame in in_order]
        return {tuple(track) for track in map(tuple, link_tracks([np.array(f, float).reshape(-1, 5) for f in arrays]))}

    shuffled = [random.sample(frame, len(frame)) for frame in frames]
    assert tracked(shuffled) == tracked(frames)


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 60))
def test_a_filled_track_takes_the_nearest_detection(seen, frames):
    track = [Detection(frame, (0, 0, 10, 10), 0.9) for frame in sorted(seen)]
    for frame, detection in enumerate(fill_track(track, frames)):
        assert abs(detection.frame - frame) == min(abs(other - frame) for other in seen)


@given(st.lists(boxes(), min_size=1, max_size=6), st.integers(2, 640), st.integers(2, 480))
def test_crops_are_squares_inside_the_frame_all_of_one_even_size(track, width, height):
    inside = [[min(box[0], width - 1), min(box[1], height - 1), *box[2:]] for box in track]
    squares = align_track([Detection(n, tuple(box), 0.9) for n, box in enumerate(inside)], width, height)
    (size,) = {square.size for square in squares}
    assert size >= 2 and (size % 2 == 0 or size in (width, height))
    assert size <= max(2, max(bounding_square(box, width, height).size for box in inside))
    frame = np.zeros((height, width, 3), np.uint8)
    for square in squares:
        assert 0 <= square.x <= width - size and 0 <= square.y <= height - size
        assert cut(frame, square).shape == (size, size, 3)


@given(st.lists(st.sets(st.integers(0, 11), min_size=1), min_size=1, max_size=3), st.integers(1, 12))
def test_every_face_gets_one_crop_for_each_frame(seen, frames):
    tracks = [[Detection(frame, (10, 10, 40, 50), 0.9) for frame in sorted(numbers)] for numbers in seen]
    _, by_source = plan_crops(tracks, frames, 100, 100)
    planned = [(crop.face, crop.frame) for crops in by_source.values() for crop in crops]
    assert sorted(planned) == [(face, frame) for face in range(len(tracks)) for frame in range(frames)]
    assert set(by_source) <= set().union(*seen)


@given(st.lists(st.tuples(boxes(), st.floats(0, 1, width=32)), max_size=6))
def test_boxes_are_the_same_when_they_are_read_again(found):
    detections = np.array([[*box, score] for box, score in found], np.float32).reshape(-1, 5)
    assert np.array_equal(parse_boxes(format_boxes(detections)), detections)


# Sampling and scoring


@given(st.integers(1, 100_000), st.integers(1, 400))
def test_sampling_takes_as_many_frames_as_are_wanted_and_reaches_the_end(frames, wanted):
    interval = sampling_interval(frames, wanted)
    sampled = range(0, frames, interval)
    assert 0 < len(sampled) <= wanted and frames - sampled[-1] <= interval
    assert interval == 1 or len(range(0, frames, interval - 1)) > wanted


@given(st.integers(0, 500))
def test_image_members_see_whole_groups_of_frames_up_to_the_last_one(sampled):
    seen = image_frames(sampled)
    assert len(seen) % GROUP == 0 and len(seen) <= IMAGE_FRAMES and seen == sorted(set(seen))
    if sampled >= GROUP:
        step = max(1, math.ceil(sampled / IMAGE_FRAMES))
        assert seen[0] == 0 and sampled - seen[-1] <= step * GROUP


@given(st.integers(1, 10_000), st.integers(2, 300))
def test_a_spread_choice_holds_both_ends_and_no_gap_is_much_wider_than_another(count, wanted):
    chosen = spread(count, wanted)
    assert (chosen[0], chosen[-1]) == (0, count - 1) and len(chosen) == min(count, wanted)
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@given(st.lists(SCORES, min_size=1, max_size=8))
def test_a_score_is_never_beyond_the_scores_that_it_is_made_of(scores):
    for made in (group_score(scores), face_score(scores)):
        assert min(scores) - 1e-12 <= made.value <= max(scores) + 1e-12


@given(st.lists(SCORES, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_groups_and_faces_does_not_matter(scores, random):
    shuffled = random.sample(scores, len(scores))
    assert group_score(shuffled).value == pytest.approx(group_score(scores).value, abs=1e-12)
    assert face_score(shuffled).value == pytest.approx(face_score(scores).value, abs=1e-12)


@given(SCORES)
def test_squeezing_keeps_the_side_and_never_makes_surer(score):
    squeezed = squeeze(score)
    assert 0 < squeezed < 1 or squeezed == score
    assert abs(squeezed - 0.5) <= abs(score - 0.5) and (squeezed - 0.5) * (score - 0.5) >= 0


VOTES = st.lists(
    st.builds(Vote, st.sampled_from(["image", "video"]), st.floats(0.1, 10), st.none() | SCORES), max_size=11
)


@given(VOTES)
def test_the_ensemble_stays_between_its_members(votes):
    made = ensemble({str(number): vote for number, vote in enumerate(votes)})
    scores = [vote.score for vote in votes if vote.score is not None]
    if not scores:
        assert made.final.value is None
    else:
        assert min(scores) - 1e-12 <= made.final.value <= max(scores) + 1e-12
    for branch in ("image", "video"):
        has_score = any(vote.branch == branch and vote.score is not None for vote in votes)
        assert (getattr(made, branch).value is not None) == has_score


# Calibrations and verdicts


def conditions(face=100.0):
    return Conditions(face, 0.02, 0.4)


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]) | SCORES, min_size=100, max_size=160),
    SCORES,
    SCORES,
)
@settings(max_examples=50)
def test_a_higher_score_is_never_less_rare_and_no_rate_is_below_the_counted_one(scores, low, high):
    low, high = sorted((low, high))
    known = [conditions()] * len(scores)
    calibration = Calibration({}, "faces", make_strata(real_scores(scores, known, list(map(str, range(len(scores)))))))
    of_low, of_high = (calibration.judge(score, conditions()) for score in (low, high))
    assert 0 < of_high.rate <= of_low.rate <= 1
    for score, judgement in ((low, of_low), (high, of_high)):
        as_high = sum(real >= score for real in scores)
        assert judgement.rate >= (as_high + 1) / (len(scores) + 1) - 1e-6
        assert judgement.count >= as_high
    order = list(VerdictName)
    names = [verdict(Status.OK, score, "", judged).name for score, judged in ((low, of_low), (high, of_high))]
    assert order.index(names[1]) <= order.index(names[0])


@given(st.lists(SCORES, min_size=100, max_size=500))
@settings(max_examples=25)
def test_a_calibration_is_the_same_from_its_file(tmp_path, scores):
    strata = make_strata(real_scores(scores, [conditions()] * len(scores), list(map(str, range(len(scores))))))
    calibration = Calibration({"lite0": "ab"}, "videos", strata)
    write_calibration(tmp_path / "c.json", calibration, {})
    assert read_calibration(tmp_path / "c.json") == calibration


@given(st.sampled_from(Status), SCORES, st.none() | st.floats(0.001, 1))
def test_only_a_video_with_a_score_has_a_verdict(status, label, rate):
    judgement = None if rate is None else Judgement(rate, 200, "faces", "")
    name = verdict(status, label, "why", judgement).name
    assert (name == VerdictName.NOT_SCORED) == (status != Status.OK)


# Training


@given(st.integers(1, 60), st.integers(1, 8))
def test_every_sample_is_validated_once_by_any_number_of_processes(samples, world):
    slices = [validation_slice(samples, rank, world) for rank in range(world)]
    assert sorted(number for of_rank in slices for number in of_rank) == list(range(samples))


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 6), st.sampled_from([1, 2, 4, 8]), st.data())
def test_any_number_of_processes_and_any_stop_take_the_same_samples(tracks, batch, steps, processes, data):
    """The reference has eight processes; here each of some processes stands in for several of them."""
    reference, stop = 8, data.draw(st.integers(0, steps))

    def taken(start, end, rank, of):
        ranks = range(rank * reference // of, (rank + 1) * reference // of)
        sampler = TrainingSampler([(tracks, 1.0)], steps, batch, ranks, reference, start)
        return [pair for step in range(start, end) for pair in sampler.of_step(step)]

    whole = sorted(taken(0, steps, 0, 1))
    parts = [
        pair
        for rank in range(processes)
        for pair in taken(0, stop, rank, processes) + taken(stop, steps, rank, processes)
    ]
    assert sorted(parts) == whole
    assert {sample for _, sample in whole} <= set(range(tracks))


@given(st.floats(0, 0.1), st.floats(0, 0.1), st.integers(0, 50), st.integers(51, 300), st.booleans())
def test_the_learning_rate_is_never_negative_nor_above_its_ends(base, warm, warmup, steps, cosine):
    schedule = LRScheduler(base, warm, warmup, [60, 90], [0.5, 0.1], steps, cosine)
    rates = [lr_at(step, schedule) for step in range(steps)]
    assert all(-1e-12 <= rate <= max(base, warm) + 1e-12 for rate in rates)
    after = rates[warmup:]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(after))


# Lists


@st.composite
def data_sets(draw):
    """Videos of up to forty parts: originals, and up to nine fakes of each, some in other parts."""
    videos, fakes = [], {}
    for number in range(draw(st.integers(1, 8))):
        part = f"dfdc_train_part_{draw(st.integers(0, 40))}"
        videos.append(LabelledVideo(part, f"o{number}", 0, f"o{number}", 60, 1, draw(st.booleans())))
        fakes[f"o{number}"] = draw(st.integers(0, 9))
        for fake in range(fakes[f"o{number}"]):
            videos.append(LabelledVideo(part, f"o{number}f{fake}", 1, f"o{number}", 60, 1))
    return videos, fakes


@given(data_sets(), st.integers(0, 5), st.booleans(), st.data())
def test_no_original_is_on_both_sides_of_a_split(known, seed, train_on_test, data):
    videos, fakes = known
    public = data.draw(st.sets(st.sampled_from(sorted(fakes)), max_size=2))
    public |= {video.name for video in videos if video.original in public}  # as in the contest: whole originals
    rules = list_rules(videos, fakes, public, seed, train_on_test)
    originals = {rule.file: {video.original for video in videos if rule.holds(video)} for rule in rules}
    for train, val in SIDES:
        assert not originals[train] & originals[val]


# Files


@given(st.sets(NAMES, max_size=30), st.integers(1, 7))
def test_shards_together_are_the_whole_and_share_nothing(names, count):
    videos = {name: index for index, name in enumerate(sorted(names))}
    shards = [Shard(index, count).of(videos) for index in range(count)]
    assert sum(map(len, shards)) == len(videos)
    assert {name: index for shard in shards for name, index in shard.items()} == videos


FACES = st.builds(
    FaceResult, st.integers(1, 9), st.none() | SCORES, NAMES, st.booleans(), st.dictionaries(NAMES, SCORES, max_size=2),
    st.integers(0, 99), st.floats(0, 99), st.floats(0, 99), st.lists(SCORES, max_size=3).map(tuple),
)  # fmt: skip
RESULTS = st.builds(
    Result, NAMES, SCORES, st.sampled_from(Status), NAMES, st.integers(0, 999), st.lists(FACES, max_size=2).map(tuple),
    st.dictionaries(NAMES, st.none() | SCORES, max_size=3), st.none() | SCORES, st.none() | SCORES,
    st.dictionaries(NAMES, st.floats(0, 99), max_size=2), notes=st.lists(NAMES, max_size=2).map(tuple),
    verdict=st.sampled_from(VerdictName), conditions=st.none() | st.builds(Conditions, SCORES, SCORES, SCORES),
)  # fmt: skip


@given(RESULTS)
def test_a_result_is_the_same_from_its_row(result):
    assert Result.from_row(json.loads(json.dumps(result.to_row()))) == result


@given(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20))
def test_names_in_a_submission_are_utf8_and_stay_apart(one, other):
    names = [part.decode("utf-8", "surrogateescape") for part in (one, other)]
    shown = [utf8_name(name) for name in names]
    for name in shown:
        name.encode("utf-8")
    both_odd = all(any("\udc80" <= letter <= "\udcff" for letter in name) for name in names)
    assert not both_odd or (names[0] == names[1]) == (shown[0] == shown[1])
