"""What a player shows is what is scored, in files as public bug reports describe them (docs/use/video_files.md)."""

import shutil
import struct
import tarfile
import wave
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from faces.shots import find_shots
from faces.streams import DecodeError, Orientation, UnsupportedError
from faces.video import Reading, probe, read_frames
from faces.video_files import find_videos, is_video, part_videos
from tests.conftest import FILM_FRAMES as FRAMES
from tests.strange import add_stream_before, encode, invisible, pipe_avi, remux, set_matrix


def read(path):
    """The video's facts, its reading, and the frames that it yielded."""
    info = probe(path)
    reading = Reading(path, info)
    return info, reading, list(reading)


# Whole files that are not cut off, and cut files that are


def with_wrong_mdat(data):
    at = data.rindex(b"mdat") - 4
    return data[:at] + struct.pack(">I", len(data) - at + 9) + data[at + 4 :]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"a line of text\n",
        lambda data: data + b"ID3\x04" + bytes(range(200)),
        lambda data: data + struct.pack(">I4s", 1 << 20, b"free") + bytes(100),
        lambda data: data + struct.pack(">I4s", 1 << 20, b"zzzz"),
        lambda data: data + bytes(9),
        lambda data: data + b"moo",
    ],
    ids=["text", "ID3", "free", "vendor", "zeros", "three bytes"],
)
def test_bytes_after_the_last_box_change_nothing(film, pictures, tmp_path, change):
    path = tmp_path / "x.mp4"
    path.write_bytes(change(film.read_bytes()))
    _, reading, shown = read(path)
    assert reading.frames == FRAMES
    np.testing.assert_array_equal(shown[-1].image, pictures[-1])


def test_an_mdat_that_says_too_much_but_lacks_nothing_is_whole(film, tmp_path):
    """The index is at the start, so the file ends with its media."""
    path = remux(film, tmp_path / "x.mp4")
    fast = tmp_path / "fast.mp4"
    encode(fast, list(read_frames(path)), movflags="faststart")
    fast.write_bytes(with_wrong_mdat(fast.read_bytes()))
    assert read(fast)[1].frames == FRAMES
    fast.write_bytes(fast.read_bytes()[:-400])
    with pytest.raises(DecodeError, match=r"cut off, its 'mdat' box ends at byte \d+ of \d+") as error:
        probe(fast)
    assert 0 < error.value.frames <= FRAMES


@pytest.mark.parametrize("wrong", [0, 7, -7, 1 << 20, "unknown"])
def test_an_avi_whose_riff_size_is_wrong_is_whole(pictures, tmp_path, wrong):
    path = encode(tmp_path / "x.avi", pictures, codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    size = 0xFFFFFFFF if wrong == "unknown" else struct.unpack_from("<I", data, 4)[0] + wrong
    struct.pack_into("<I", data, 4, size)
    path.write_bytes(data)
    assert read(path)[1].frames == FRAMES


def test_an_avi_from_a_pipe_is_whole(pictures, tmp_path):
    info, reading, _ = read(pipe_avi(tmp_path / "x.avi", pictures))
    assert (info.declared, reading.frames) == (None, FRAMES)
    assert reading.duration == pytest.approx(0.8)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_an_avi_that_lacks_pictures_is_cut_off(pictures, tmp_path, share):
    path = encode(tmp_path / "x.avi", pictures, codec="mjpeg", pixels="yuvj420p")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DecodeError, match=r"cut off, its 'movi' list ends at byte \d+ of \d+"):
        probe(path)


def test_a_matroska_file_without_its_last_bytes_is_whole_if_these_are_no_pictures(pictures, tmp_path):
    path = encode(tmp_path / "x.mkv", pictures, options={"g": "6"})
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])  # of the index, which follows the pictures
    assert read(path)[1].frames == FRAMES
    path.write_bytes(whole[: int(0.9 * len(whole))])
    with pytest.raises(DecodeError, match="cut off, its cluster ends at byte"):
        probe(path)


@pytest.mark.parametrize(("name", "options"), [("x.mp4", "frag_keyframe+empty_moov"), ("x.mkv", "")])
def test_a_file_that_lacks_only_sound_is_whole(pictures, tmp_path, name, options):
    """The sound lasts longer than the picture, and some of its end is missing."""
    path = encode(tmp_path / name, pictures, options={"g": "12"}, movflags=options, sound_seconds=3)
    whole = path.read_bytes()
    end = whole.rindex(b"mfra") - 4 if name == "x.mp4" else whole.rindex(bytes.fromhex("1c53bb6b"))  # the index
    path.write_bytes(whole[: end - 40])
    assert read(path)[1].frames == FRAMES
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match="cut off"):
        probe(path)


def test_an_avi_with_an_empty_chunk_and_a_wrong_list_is_whole(pictures, tmp_path):
    path = encode(tmp_path / "x.avi", pictures, codec="mjpeg", pixels="yuvj420p", times=[*range(23), 40])
    data = bytearray(path.read_bytes())
    at = data.index(b"movi") - 4
    struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] + 100_000)
    path.write_bytes(data)
    assert read(path)[1].frames == FRAMES


def test_an_avi_of_unknown_size_that_lacks_pictures_is_cut_off(pictures, tmp_path):
    """What its header counts is there to compare with."""
    path = encode(tmp_path / "x.avi", pictures, codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"movi") - 4, 0)
    path.write_bytes(data[: int(0.5 * len(data))])
    with pytest.raises(DecodeError, match=r"decoding stopped after \d+ of 24 frames"):
        read(path)


# The stream that players choose


def test_a_poster_is_not_the_film(film, pictures, tmp_path):
    poster = cv2.resize(pictures[0], (160, 90))
    info, _, shown = read(add_stream_before(film, tmp_path / "x.mkv", [poster], default=False))
    assert (info.stream, info.streams, info.frames, info.width) == (1, 2, FRAMES, 640)
    assert info.notes == ("stream 1 of the file, one of 2 video streams",)
    np.testing.assert_array_equal(shown[3].image, pictures[3])


def test_one_picture_is_taken_only_if_there_is_nothing_else(film, pictures, tmp_path):
    """Even if it is the default stream and larger."""
    large = cv2.resize(pictures[0], (1280, 720))
    info = probe(add_stream_before(film, tmp_path / "x.mkv", [large], default=True))
    assert (info.stream, info.frames) == (1, FRAMES)
    assert probe(encode(tmp_path / "one.mp4", pictures[:1])).frames == 1


def test_of_two_films_the_default_one_is_taken_then_the_larger(film, pictures, tmp_path):
    small = [cv2.resize(frame, (320, 180)) for frame in pictures[:5]]
    assert probe(add_stream_before(film, tmp_path / "a.mkv", small, default=True)).stream == 0
    path = tmp_path / "b.ts"  # a transport stream has no default
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg2video", rate=30) for _ in range(2)]
        for stream, (frame, *_) in zip(streams, (small, pictures), strict=True):
            stream.height, stream.width = frame.shape[:2]
            stream.pix_fmt = "yuv420p"
        for stream, frames in zip(streams, (small, pictures[:5]), strict=True):
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            container.mux(stream.encode())
    assert (probe(path).stream, probe(path).width) == (1, 640)


# All eight orientations, and what is none

EIGHT = {  # display matrix a, b, c, d -> what is shown of a stored picture, as ffmpeg 9 shows it
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (1, 0, 0, -1): lambda image: image[::-1],
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],
    (0, 1, 1, 0): lambda image: image.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda image: np.rot90(image, 3),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", EIGHT, ids=str)
@pytest.mark.parametrize("scale", [1, 2])
def test_orientation(film, pictures, tmp_path, matrix, scale):
    path = tmp_path / "x.mp4"
    shutil.copy(film, path)
    set_matrix(path, *(scale * value for value in matrix))
    info, _, shown = read(path)
    expected = EIGHT[matrix](pictures[5])
    np.testing.assert_array_equal(shown[5].image, expected)
    assert (info.height, info.width) == expected.shape[:2]
    assert bool(info.notes) == (matrix != (1, 0, 0, 1))


@pytest.mark.parametrize("matrix", [(0.8, 0.6, -0.6, 0.8), (1, 0.5, 0, 1), (0, 0, 0, 0), (1, 0, 0, 0)], ids=str)
def test_what_is_no_orientation_is_said_and_left_as_stored(film, pictures, tmp_path, matrix):
    path = tmp_path / "x.mp4"
    shutil.copy(film, path)
    set_matrix(path, *matrix)
    info, _, shown = read(path)
    np.testing.assert_array_equal(shown[0].image, pictures[0])
    assert info.orientation == Orientation(known=False)
    assert "neither a turn nor a mirror image" in info.caveats[0]


# One notion of shown frames


def test_frames_that_an_edit_list_hides_are_not_counted(film, pictures, tmp_path):
    info, reading, shown = read(remux(film, tmp_path / "x.mp4", later=-14 / 30))
    assert (info.declared, info.frames, reading.frames) == (FRAMES, 10, 10)
    assert (shown[0].time, reading.last) == (0, pytest.approx(9 / 30, abs=1e-4))
    assert reading.duration == pytest.approx(10 / 30, abs=0.01)
    np.testing.assert_array_equal(shown[0].image, pictures[14])


def test_frames_that_a_decoder_only_refers_to_are_not_counted(pictures, tmp_path):
    path = encode(tmp_path / "all.webm", pictures, codec="libvpx", options={"g": "100"})
    info, reading, _ = read(remux(path, tmp_path / "x.webm", change=invisible))
    assert (info.frames, reading.frames) == (FRAMES, FRAMES // 3)


def test_empty_chunks_of_an_avi_are_no_frames(pictures, tmp_path):
    times = [20 * number for number in range(FRAMES)]
    info, reading, shown = read(encode(tmp_path / "x.avi", pictures, codec="mjpeg", pixels="yuvj420p", times=times))
    assert (info.declared, info.frames, reading.frames) == (461, FRAMES, FRAMES)
    assert [frame.time for frame in shown] == pytest.approx([time / 30 for time in times], abs=1e-5)
    assert reading.duration == pytest.approx(461 / 30, abs=1e-3)


def test_an_avi_may_end_with_empty_chunks(pictures, tmp_path):
    """Its last picture stands still; the last frame is far before the end."""
    path = encode(tmp_path / "x.avi", pictures, codec="mjpeg", pixels="yuvj420p", times=[*range(23), 400])
    data = path.read_bytes()
    with av.open(str(path)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
        start, size = last.pos, last.size
    chunk = data.rindex(b"00dc", 0, start + 8)
    length = 8 + size + size % 2
    emptied = data[:chunk] + b"00dc" + bytes(4) + b"JUNK" + struct.pack("<I", length - 16) + data[chunk + 16 :]
    index = emptied.rindex(b"00dc")
    path.write_bytes(emptied[: index + 12] + bytes(4))
    _, reading, _ = read(path)
    assert (reading.frames, reading.last) == (23, pytest.approx(22 / 30, abs=1e-5))
    assert reading.duration == pytest.approx(401 / 30, abs=1e-3)


def test_times_are_those_of_a_players_clock(pictures, tmp_path):
    """The sound begins at 0, the picture .84 s later."""
    later = [25 + number for number in range(FRAMES)]
    for name, lead in (("x.mkv", 0.065), ("x.mp4", 0.002)):  # an encoder's silence leads the sound in Matroska
        info, reading, shown = read(encode(tmp_path / name, pictures, times=later, sound_seconds=2))
        assert info.frames == FRAMES
        assert shown[0].time == reading.first == pytest.approx(25 / 30, abs=lead)
        assert reading.duration == pytest.approx((25 + FRAMES) / 30, abs=lead)


def test_times_never_run_backwards(film, pictures, tmp_path):
    """H.264 with B-frames in AVI, which has decoding times only."""
    path = encode(tmp_path / "x.avi", pictures, options={"bf": "3"})
    _, reading, shown = read(path)
    times = [frame.time for frame in shown]
    assert times == sorted(set(times))
    assert reading.last - reading.first == pytest.approx((FRAMES - 1) / 30, abs=0.04)


def test_a_video_does_not_last_longer_than_its_edit_list(clip):
    _, reading, _ = read(clip("no_face.mp4"))
    assert (reading.last, reading.duration) == (pytest.approx(3.917, abs=1e-3), pytest.approx(3.945, abs=1e-3))


def test_a_stream_without_timestamps_has_frames_but_no_times(pictures, tmp_path):
    _, reading, shown = read(encode(tmp_path / "x.h264", pictures))
    assert reading.frames == FRAMES
    assert {frame.time for frame in shown} == {None}
    assert reading.duration == pytest.approx(FRAMES / 30)


# Containers

CONTAINERS = dict.fromkeys(("mov", "mkv", "ts", "mts", "m2ts", "h264", "nut"), "libx264")
CONTAINERS |= dict.fromkeys(("mp4", "m4v", "3gp", "avi"), "mpeg4")
CONTAINERS |= dict.fromkeys(("mpg", "vob", "mxf"), "mpeg2video")
CONTAINERS |= {"webm": "libvpx-vp9", "ivf": "libvpx", "ogv": "libvpx", "wmv": "wmv2", "flv": "flv1", "rm": "rv20"}
CONTAINERS |= {"gif": "gif", "hevc": "libx265", "mjpeg": "mjpeg", "y4m": "wrapped_avframe"}
PIXELS = {"gif": "rgb8", "mjpeg": "yuvj420p"}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_container(pictures, tmp_path, suffix):
    """It is read, by its content and whatever its name; in a folder it is found."""
    path = tmp_path / f"x.{suffix}"
    encode(path, pictures, codec=CONTAINERS[suffix], pixels=PIXELS.get(suffix, "yuv420p"))
    _, reading, shown = read(path)
    assert reading.frames == FRAMES
    assert np.abs(shown[7].image.astype(int) - pictures[7]).mean() < (40 if suffix == "gif" else 8)
    assert is_video(path)
    nameless = path.rename(tmp_path / "nameless")
    assert is_video(nameless)
    assert read(nameless)[1].frames == FRAMES


def test_dv(pictures, tmp_path):
    info, reading, _ = read(
        encode(tmp_path / "x.dv", [cv2.resize(frame, (720, 480)) for frame in pictures], "dvvideo", "yuv411p")
    )
    assert reading.frames == FRAMES
    assert info.fps == pytest.approx(29.97, abs=0.01)


def test_jpegs_in_a_row_are_a_video_though_one_is_a_picture(pictures, tmp_path):
    path = tmp_path / "x.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in pictures))
    assert read(path)[1].frames == FRAMES


def test_what_only_begins_to_look_like_pictures_is_no_video(pictures, tmp_path):
    """An archive of JPEGs, which ffmpeg takes for a stream of them."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number, frame in enumerate(pictures):
            cv2.imwrite(str(tmp_path / f"{number}.jpg"), frame)
            archive.add(tmp_path / f"{number}.jpg", f"{number}.jpg")
    assert not is_video(tmp_path / "x.tar")


def wav(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))


REFUSED = {
    "list.ffconcat": b"ffconcat version 1.0\nfile 'film.mp4'\n",
    "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfilm.mp4\n#EXT-X-ENDLIST\n",
    "list.mpd": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "stream.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "text.mp4": b"no video, whatever it is called\n" * 50,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_names_other_files_is_refused(film, tmp_path, name):
    shutil.copy(film, tmp_path / "film.mp4")
    (tmp_path / name).write_bytes(REFUSED[name])
    with pytest.raises(UnsupportedError):
        probe(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:9/x.mp4", "frame%03d.png", "/dev/null", "testsrc", "concat:film.mp4"]
)
def test_what_is_no_file_is_refused(pictures, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("frame001.png", pictures[0])
    with pytest.raises((FileNotFoundError, DecodeError)):
        probe(Path(name))


def test_riff_files_that_are_no_avi_and_pictures_are_unsupported(pictures, tmp_path):
    wav(tmp_path / "x.wav")
    for suffix in ("webp", "png", "jpg"):
        cv2.imwrite(str(tmp_path / f"x.{suffix}"), pictures[0])
    for path in tmp_path.iterdir():
        with pytest.raises(UnsupportedError, match="not a video in a format that is read"):
            probe(path)
        assert not is_video(path)


# Folders


def test_folders_take_every_video_and_name_what_they_leave_out(pictures, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    for suffix in ("wmv", "flv", "TS"):
        encode(part / f"{suffix}.{suffix}", pictures[:2], codec=CONTAINERS[suffix.lower()])
    encode(part / "x.gif", pictures[:2], codec="gif", pixels="rgb8").rename(part / "moving")
    encode(part / "y.gif", pictures[:1], codec="gif", pixels="rgb8")
    (part / "broken.mpg").write_bytes(b"no video")
    (part / "notes.txt").write_text("notes")
    (part / "metadata.json").write_text("{}")
    (part / ".hidden.mp4").touch()
    (part / "sub").mkdir()
    wav(part / "sound.wav")
    found = find_videos([part], None, tmp_path)
    assert list(found.videos) == ["TS.TS", "broken.mpg", "flv.flv", "moving", "wmv.wmv"]
    assert found.note == "; left out 4: notes.txt, sound.wav, sub/, y.gif"
    encode(part / "wmv.gif", pictures[:2], codec="gif", pixels="rgb8")  # would share the folder of wmv.wmv
    by_part = part_videos(tmp_path)
    assert list(by_part.videos) == ["part/TS", "part/broken", "part/flv", "part/moving", "part/wmv"]
    assert by_part.left_out == ["part/notes.txt", "part/sound.wav", "part/sub/", "part/y.gif", "part/wmv.gif"]


# HDR, pixels that are not square, shots


def test_hdr_and_pixels_that_are_not_square_are_said(pictures, tmp_path):
    for transfer, name in (("smpte2084", "PQ"), ("arib-std-b67", "HLG")):
        path = encode(tmp_path / f"{name}.mp4", pictures[:2], options={"x264-params": f"transfer={transfer}"})
        assert probe(path).caveats == (f"HDR ({name}), not tone-mapped",)
    path = encode(tmp_path / "wide.mp4", pictures[:2], options={"x264-params": "sar=16/11"})
    assert probe(path).caveats == ("pixels 16:11, not stretched",)


def test_shots_are_cut_where_the_picture_changes_at_once(clip, pictures, tmp_path):
    other = [cv2.resize(frame, (640, 360)) for frame in islice(read_frames(clip("no_face.mp4")), 20)]
    flash = [*pictures[:10], np.full_like(pictures[0], 255), *pictures[11:]]
    path = encode(tmp_path / "x.mp4", [*other, *flash, *other[:12]])
    info = probe(path)
    assert find_shots(Reading(path, info)) == [range(20), range(20, 44), range(44, 56)]


@pytest.mark.parametrize(
    "name", ["single_face.mp4", "no_face.mp4", "carphone_pristine.mp4", "WolfgangLanger_Pexels.mp4"]
)
def test_what_moves_is_no_new_shot(clip, name):
    path = clip(name)
    assert len(find_shots(Reading(path, probe(path)))) == 1
