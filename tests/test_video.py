"""Decoding: every way a file can be wrong is a DecodeError that says so."""

from itertools import islice

import cv2
import numpy as np
import pytest

from faces.video import DecodeError, probe, read_frames


def test_probe(clip):
    assert probe(clip("single_face.mp4")) == (72, 360, 640, 30.0)


def test_interval_skips_frames_without_changing_them(clip):
    everything = list(islice(read_frames(clip("single_face.mp4")), 13))
    some = list(islice(read_frames(clip("single_face.mp4"), interval=6), 3))
    assert all(frame.shape == (360, 640, 3) and frame.dtype == np.uint8 for frame in some)
    for frame, expected in zip(some, everything[::6], strict=True):
        np.testing.assert_array_equal(frame, expected)
    assert not np.array_equal(everything[0], everything[12])


def test_a_clip_whose_edit_list_hides_three_frames_is_whole(clip):
    assert probe(clip("no_face.mp4")).frames == 98
    assert sum(1 for _ in read_frames(clip("no_face.mp4"))) == 95


@pytest.mark.parametrize("name", ["single_face.mp4", "WolfgangLanger_Pexels.mp4", "face_noface.mov"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_off_file(clip, tmp_path, name, share):
    """The index of the first lies at its end, that of the second at its start: ffmpeg opens it and yields what is there."""
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


@pytest.mark.parametrize(("content", "complaint"), [(b"", "empty"), (b"this is no video at all" * 99, "cut off|not a video")])
def test_no_video(tmp_path, content, complaint):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=complaint):
        probe(path)
