"""Decoding: pixels, and every way a file can be wrong. `test_preprocess.py` has more strange videos."""

from itertools import islice

import av
import cv2
import numpy as np
import pytest

from faces.streams import DecodeError, Orientation, UnsupportedError
from faces.video import Reading, probe, read_frames, read_some
from tests.strange import change_size, corrupt_packet, encode, set_matrix


def test_probe(clip):
    info = probe(clip("single_face.mp4"))
    assert info[:5] == (72, 360, 640, 30.0, 72)
    assert (info.orientation, info.stream, info.streams, info.notes) == (Orientation(), 0, 1, ())


def test_interval_skips_frames_without_changing_them(clip):
    everything = list(islice(read_frames(clip("single_face.mp4")), 13))
    some = list(islice(read_frames(clip("single_face.mp4"), interval=6), 3))
    assert all(frame.shape == (360, 640, 3) and frame.dtype == np.uint8 for frame in some)
    for frame, expected in zip(some, everything[::6], strict=True):
        np.testing.assert_array_equal(frame, expected)
    assert not np.array_equal(everything[0], everything[12])


def test_a_clip_whose_edit_list_hides_three_frames_is_whole(clip):
    info = probe(clip("no_face.mp4"))
    assert (info.frames, info.declared) == (95, 98)
    assert sum(1 for _ in read_frames(clip("no_face.mp4"))) == 95


@pytest.mark.parametrize("name", ["single_face.mp4", "WolfgangLanger_Pexels.mp4", "face_noface.mov"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_off_file(clip, tmp_path, name, share):
    """The index of the first lies at its end, that of the second at its start: ffmpeg opens it and
    yields what is there.
    """
    whole = clip(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DecodeError, match=rf"{name}: cut off, its '\w+' box ends at byte \d+ of \d+"):
        next(read_frames(path))


def test_stream_that_breaks_off_midway(clip, tmp_path):
    """The file has its full length, but the second half of its pictures is zeros."""
    whole = bytearray(clip("WolfgangLanger_Pexels.mp4").read_bytes())
    whole[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    path = tmp_path / "broken.mp4"
    path.write_bytes(whole)
    with pytest.raises(DecodeError, match=r"decoding stopped after \d+ of 472 frames"):
        list(read_frames(path))


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_other_containers_may_lack_a_few_frames_only(frames, tmp_path, suffix):
    """They have no boxes to check; what they declare and do not hold is all there is to see."""
    path = tmp_path / f"x{suffix}"
    codec = cv2.VideoWriter.fourcc(*("MJPG" if suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, 30.0, (640, 360))
    for frame in frames * 8:
        writer.write(frame)
    writer.release()
    assert sum(1 for _ in read_frames(path)) == 96
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.9 * len(whole))])
    with pytest.raises(DecodeError):
        list(read_frames(path))


@pytest.mark.parametrize(
    ("content", "error", "complaint"),
    [
        (b"", DecodeError, "empty"),
        (b"this is no video at all" * 99, UnsupportedError, "not a video"),
        (b"ffconcat version 1.0\nfile 'other.mp4'\n", UnsupportedError, "not a video"),
    ],
)
def test_no_video(tmp_path, content, error, complaint):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    encode(tmp_path / "other.mp4", [np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(error, match=complaint):
        probe(path)


def test_pixels_are_opencvs(clip):
    """On H.264 4:2:0, what DFDC is, the reference's decoder and ours agree to the bit."""
    capture = cv2.VideoCapture(str(clip("single_face.mp4")))
    for frame in read_frames(clip("single_face.mp4")):
        np.testing.assert_array_equal(frame, capture.read()[1])
    assert not capture.read()[0]


@pytest.mark.slow
def test_pixels_of_every_real_clip_are_opencvs(shared):
    for path in sorted(shared("clips").glob("*/*.mp4")):
        capture = cv2.VideoCapture(str(path))
        for number, frame in enumerate(read_frames(path)):
            ok, expected = capture.read()
            if number % 10 == 0:
                np.testing.assert_array_equal(frame, expected)
        assert ok
        assert not capture.read()[0]


def test_some_frames(clip):
    everything = list(islice(read_frames(clip("single_face.mp4")), 12))
    info = probe(clip("single_face.mp4"))
    some = dict(read_some(clip("single_face.mp4"), info, {2, 11}))
    assert some.keys() == {2, 11}
    for number, frame in some.items():
        np.testing.assert_array_equal(frame, everything[number])
    assert dict(read_some(clip("single_face.mp4"), info, set())) == {}


def test_rotated_video_stands_upright(frames, tmp_path):
    path = encode(tmp_path / "turned.mp4", frames)
    stored = list(read_frames(path))
    set_matrix(path, 0, 1, -1, 0)
    assert probe(path)[1:4] == (640, 360, 30.0)
    assert probe(path).orientation == Orientation(3)
    for turned, frame in zip(read_frames(path), stored, strict=True):
        np.testing.assert_array_equal(turned, np.rot90(frame, 3))


def test_interlaced_video_is_not_black(frames, tmp_path):
    path = encode(tmp_path / "x.mp4", frames, options={"x264-params": "interlaced=1"})
    for shown, frame in zip(read_frames(path), frames, strict=True):
        assert np.abs(shown.astype(int) - frame).mean() < 3


def test_frames_before_and_after_a_damaged_packet_are_read(frames, tmp_path):
    path = encode(tmp_path / "x.mp4", frames, options={"g": "4", "bf": "0"})
    whole = list(read_frames(path))
    corrupt_packet(path, 5)
    reading = Reading(path, probe(path))
    rest = [shown.image for shown in reading]
    assert (len(rest), reading.damaged) == (11, 1)
    for frame, expected in zip(rest[:5] + rest[7:], whole[:5] + whole[8:], strict=True):
        np.testing.assert_array_equal(frame, expected)


BLIND = 2  # of the flips below, those that change a frame and decode without an error


@pytest.mark.slow
def test_damage_that_is_filled_in_is_counted(clip, tmp_path):
    """One bit is flipped at fifty places of three real clips; what counts is over 1 % of a frame's pixels off by 32."""
    random = np.random.default_rng(0)
    changed = unnoticed = 0
    for name, flips in (("single_face.mp4", 20), ("no_face.mp4", 20), ("carphone_pristine.mp4", 10)):
        path = clip(name)
        whole, reading = list(read_frames(path)), Reading(path, probe(path))
        assert (sum(1 for _ in reading), reading.concealed) == (len(whole), 0)
        with av.open(str(path)) as container:
            packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
        for _ in range(flips):
            data = bytearray(path.read_bytes())
            start, size = packets[random.integers(len(packets))]
            data[start + random.integers(5, size)] ^= 1 << int(random.integers(8))
            (tmp_path / "x.mp4").write_bytes(data)
            reading = Reading(tmp_path / "x.mp4", probe(tmp_path / "x.mp4"))
            shown = [frame.image for frame in reading]
            apart = [np.abs(a.astype(int) - b).max(axis=2) for a, b in zip(shown, whole, strict=False)]
            if max((image > 32).mean() for image in apart) > 0.01:
                changed += 1
                unnoticed += reading.damaged + reading.concealed == 0
    assert changed >= 15
    assert unnoticed <= BLIND


def test_a_hole_larger_than_the_hidden_frames_is_no_end(frames, tmp_path):
    path = encode(tmp_path / "x.avi", frames * 3, codec="mjpeg", pixels="yuvj420p")
    for number in range(8, 16):
        corrupt_packet(path, number)
    reading = Reading(path, probe(path))
    assert sum(1 for _ in reading) == 36 - 8
    assert reading.damaged == 8


def test_a_size_that_changes_is_unsupported(frames, tmp_path):
    change_size(tmp_path / "x.mkv", [frames[:5], [cv2.resize(frame, (320, 180)) for frame in frames[5:]]])
    with pytest.raises(UnsupportedError, match="the size changes from 640x360 to 320x180 at frame 6"):
        list(read_frames(tmp_path / "x.mkv"))


def test_how_many_frames_there_were_before_the_end(frames, tmp_path):
    path = encode(tmp_path / "x.mp4", frames, movflags="faststart")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.9 * len(whole))])
    with pytest.raises(DecodeError, match="cut off") as error:
        next(read_frames(path))
    assert 0 < error.value.frames < 12


def test_an_mp4_in_fragments_has_more_frames_than_its_header_says(frames, tmp_path):
    path = encode(tmp_path / "x.mp4", frames, options={"g": "4"}, movflags="frag_keyframe")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames < 12
    assert probe(path).frames == len(list(read_frames(path))) == 12
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodeError, match="cut off"):
        list(read_frames(path))
