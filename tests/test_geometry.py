"""Boxes, tracking and crops against the reference's recorded outputs and hand-worked cases."""

import numpy as np
import pytest

from common.errors import BadInputError
from faces.boxes import format_boxes, iou_plus_one, parse_boxes, tracking_boxes
from faces.crops import aligned_square, bounding_square, cut, plan_crops
from faces.tracking import Detection, fill_track, link_tracks, track_faces, voted_faces


def test_iou_counts_both_corner_pixels():
    box = np.array([0, 0, 9, 9])
    others = np.array([[0, 0, 9, 9], [5, 0, 14, 9], [10, 0, 19, 9], [20, 20, 29, 29]])
    assert iou_plus_one(box, others) == pytest.approx([1, 50 / 150, 0, 0])


def test_iou_of_inverted_boxes_divides_by_at_least_one():
    assert iou_plus_one(np.array([5, 5, 4, 4]), np.array([[5, 5, 4, 4]]))[0] == 0


def test_a_box_of_one_pixel_is_itself():
    assert iou_plus_one(np.array([5, 5, 5, 5]), np.array([[5, 5, 5, 5]]))[0] == 1


def test_box_file_is_the_contracts():
    detections = np.array([[766.9, 238.2, 981.5, 555.9, 0.99811953], [-5.7, -3.2, 60, 80, 0.02000001]], np.float32)
    assert format_boxes(detections) == "2\n766 238 215 317 0.99811953 \n-5 -3 65 83 0.02000001 \n"
    assert format_boxes(np.empty((0, 5))) == "0\n"


def test_box_file_reads_back_to_truncated_corners():
    detections = np.array([[766.9, 238.2, 981.5, 555.9, 0.99811953], [-5.7, -3.2, 60, 80, 0.8]], np.float32)
    read = parse_boxes(format_boxes(detections))
    np.testing.assert_array_equal(tracking_boxes(read), tracking_boxes(detections))
    assert read.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1 is not the number of boxes"),
        ("x\n", "line 1 is not the number of boxes"),
        ("2\n1 2 3 4 0.9 \n", "line 1 says 2 boxes, but 1 follow"),
        ("1\n1 2 3 4 0.9 \n1 2 3 4 0.9 \n", "line 1 says 1 boxes, but 2 follow"),
        ("1\n1 2 3 0.9 \n", "line 2 is not 'x y w h score': '1 2 3 0.9 '"),
        ("1\n1 2 3 4 nan \n", "line 2 is not 'x y w h score': '1 2 3 4 nan '"),
        ("1\n1 2 3.5 4 0.9 \n", "line 2 is not 'x y w h score': '1 2 3.5 4 0.9 '"),
        (f"1\n{'7' * 90}\n", f"line 2 is not 'x y w h score': '{'7' * 60}'"),
    ],
)
def test_malformed_box_file_says_where(text, complaint):
    with pytest.raises(BadInputError) as raised:
        parse_boxes(text)
    assert str(raised.value) == complaint


def test_bounding_square(values):
    for case in values["get_boundingbox"]:
        assert list(bounding_square(case["face"], case["w"], case["h"])) == case["out"]


def test_aligned_square(values):
    for case in values["adjust_boundingbox"]:
        assert list(aligned_square(case["face"], case["size"], case["w"], case["h"])) == case["out"]


def test_tracking(values):
    for case in values["tracking"]:
        detections = [np.array(frame, dtype=np.float64).reshape(-1, 5) for frame in case["dets"]]
        tracks = track_faces(detections, max_faces=2).tracks
        if case["flag"] == -1:
            assert tracks == []
            continue
        assert [len(tracks), len(detections)] == case["shapes"][0][:2]
        filled = [fill_track(track, len(detections)) for track in tracks]
        sources = [detection.frame for track in filled for detection in track]
        assert sources == case["source_frame_index_per_output(256)"][0]
        squares, _ = plan_crops(tracks, len(detections), width=640, height=480)
        rows = [
            [*detection.box, *square]
            for track, track_squares in zip(filled, squares, strict=True)
            for detection, square in zip(track, track_squares, strict=True)
        ]
        assert rows == case["face_box_then_crop_xys"]


def test_vote_goes_to_the_count_seen_first_among_equals():
    assert voted_faces([2, 1, 1, 2]) == 2
    assert voted_faces([0, 1, 1]) == 1
    assert voted_faces([]) == 0


def box(x, score=0.9):
    return [x, 0, x + 100, 100, score]


def test_fewer_tracks_than_voted_faces_keeps_what_there_is():
    # Two boxes a frame that both claim one track: the second is dropped, so one track stands for two votes.
    detections = [np.array([box(0)]), *[np.array([box(0), box(10, 0.85)])] * 3]
    voted, agreed, tracks, _ = track_faces(detections)
    assert (voted, agreed, [len(track) for track in tracks]) == (2, 3, [4])


def test_a_box_too_far_from_all_tracks_founds_one_and_tracks_never_expire():
    boxes = [np.array([box(0)]), np.array([box(300)]), np.empty((0, 5)), np.array([box(20)])]
    first, second = link_tracks(boxes)
    assert [found.frame for found in first] == [0, 3]
    assert [found.frame for found in second] == [1]


def test_a_box_of_half_the_size_joins_its_track_wherever_it_is():
    """The centre of the larger box then lies at the edge of the smaller one, at any place of the grid of cells."""
    far = [[1000 * number, 5000, 1000 * number + 20, 5020, 0.9] for number in range(30)]
    for at in range(64):
        for half in ([at, at, at + 9, at + 19], [at + 10, at, at + 19, at + 19], [at, at + 10, at + 19, at + 19]):
            whole = [at, at, at + 19, at + 19, 0.9]
            tracks = link_tracks([np.array([whole, *far]), np.array([[*half, 0.9]])])
            assert [len(track) for track in tracks] == [2, *[1] * len(far)]


def test_faces_beyond_the_vote_are_added_if_they_were_seen_in_five_frames_or_in_all():
    beside = [[box(0)]] * 6 + [[box(0), box(300), box(600)]] * 4 + [[box(0), box(300)]]
    found = track_faces([np.array(frame) for frame in beside], more=5)
    assert (found.voted_faces, found.chosen, [len(track) for track in found.tracks]) == (1, 1, [11, 5])
    short = track_faces([np.array([box(0), box(300)])] * 3, max_faces=1, more=1)
    assert (short.voted_faces, short.chosen, [len(track) for track in short.tracks]) == (2, 1, [3, 3])


def test_equally_long_tracks_stay_in_order_of_appearance():
    tracks = track_faces([np.array([box(300), box(0)])] * 2).tracks
    assert [track[0].box[0] for track in tracks] == [300, 0]


def test_filling_steps_at_most_once_a_frame_and_ties_to_the_earlier():
    track = [Detection(frame, (0, 0, 10, 10), 0.9) for frame in (0, 1, 2, 8)]
    assert [found.frame for found in fill_track(track, 9)] == [0, 1, 2, 2, 2, 2, 8, 8, 8]
    late = [Detection(frame, (0, 0, 10, 10), 0.9) for frame in (5, 6, 7)]
    assert [found.frame for found in fill_track(late, 8)] == [5, 5, 5, 5, 5, 5, 6, 7]


def test_crops_are_squares_of_one_even_size_inside_the_image():
    track = [Detection(frame, (frame * 30, 0, frame * 30 + 51 + frame, 40), 0.9) for frame in range(4)]
    (squares,), by_source = plan_crops([track], 4, width=160, height=90)
    assert {square.size for square in squares} == {int(54 * 1.3) // 2 * 2}
    image = np.zeros((90, 160, 3))
    assert all(cut(image, square).shape == (70, 70, 3) for square in squares)
    assert sorted(by_source) == [0, 1, 2, 3]


def linked_plainly(boxes):
    """The contract's rule word for word: each box is compared with the latest box of every track."""
    tracks = []
    for frame, current in enumerate(boxes):
        latest = np.array([track[-1].box for track in tracks], dtype=np.float64).reshape(-1, 4)
        taken = set()
        for row in current:
            detection = Detection(frame, tuple(int(value) for value in row[:4]), float(np.float32(row[4])))
            overlaps = iou_plus_one(row[:4], latest)
            best = int(overlaps.argmax()) if len(overlaps) else -1
            if best < 0 or overlaps[best] < 0.5:
                tracks.append([detection])
            elif best not in taken:
                taken.add(best)
                tracks[best].append(detection)
    return tracks


@pytest.mark.parametrize("sizes", [(0, 4), (10, 60), (30, 400), (900, 2000)])
@pytest.mark.parametrize("hold", [1, 4])
def test_tracks_are_those_of_comparing_each_box_with_every_track(sizes, hold):
    """Faces that shake and, every `hold` frames, change their place; some boxes begin outside the picture."""
    random = np.random.default_rng(hold)
    boxes = []
    for frame in range(60):
        if frame % hold == 0:
            corners, extent = random.uniform(-50, 900, (25, 2)), random.uniform(*sizes, (25, 2))
        shaken = corners + random.normal(0, 3, (25, 2))
        boxes.append(tracking_boxes(np.concatenate([shaken, shaken + extent, random.uniform(0.7, 1, (25, 1))], axis=1)))
    assert link_tracks(boxes) == linked_plainly(boxes)
