"""Videos that cannot be decoded, or only in part, are never called videos without faces."""

import json
import struct

import av
import numpy as np
import pytest

from common.status import Status
from faces.containers import dolby_vision_profile, is_encrypted
from faces.video import probe
from tests.strange import encode

KEY = "00112233445566778899aabbccddeeff"


def element(name, content=b""):
    """An element of Matroska."""
    return bytes.fromhex(name) + struct.pack(">BI", 8, len(content)) + content  # a size of five bytes


def copy(source, target, **options):
    """Write the packets of a video into another container."""
    with av.open(str(source)) as container, av.open(str(target), "w", options=options) as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return target


def packets(path):
    """Position and size of a video's packets."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


@pytest.fixture(scope="module")
def long(frames, tmp_path_factory):
    """Six seconds with a keyframe each half second."""
    return encode(tmp_path_factory.mktemp("long") / "long.mp4", frames * 15, options={"g": "15"})


@pytest.mark.parametrize("fragmented", [False, True])
def test_an_encrypted_mp4_is_unsupported(scorer, film, tmp_path, fragmented):
    """Common Encryption: the decoder would fill in every frame, and no face would be found."""
    flags = {"movflags": "frag_keyframe+empty_moov"} if fragmented else {}
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": KEY, "encryption_kid": KEY}
    result = scorer.score(copy(film, tmp_path / "film.mp4", **options, **flags))
    assert result.status == Status.UNSUPPORTED
    assert "encrypted" in result.reason


@pytest.mark.parametrize("size", [188, 192])
def test_a_scrambled_transport_stream_is_unsupported(scorer, film, tmp_path, size):
    path = copy(film, tmp_path / "film.ts")
    data = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 188).copy()
    payload = ((data[:, 1] & 0x1F) == 1) & (data[:, 2] == 0)  # ffmpeg's number of the first stream is 0x100
    data[payload, 3] |= 0x80
    path.write_bytes(np.pad(data, ((0, 0), (size - 188, 0))).tobytes())
    result = scorer.score(path)
    assert (result.status, "encrypted" in result.reason) == (Status.UNSUPPORTED, True)
    assert not is_encrypted(copy(film, tmp_path / "plain.ts"))


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("live", [False, True])
def test_an_encrypted_track_of_matroska_is_found(tmp_path, kind, live):
    """Only that of the video counts, number 1, and not a compression of headers."""
    path = tmp_path / "film.mkv"
    for inner, encrypted in (("5035", True), ("5034", False)):
        codings = element("6d80", element("6240", element("5031", b"\0") + element(inner, b"\1")))
        tracks = element("1654ae6b", element("ae", element("d7", b"\1") + element("83", bytes([kind])) + codings))
        segment = bytes.fromhex("18538067") + b"\x01" + 7 * b"\xff" + tracks if live else element("18538067", tracks)
        path.write_bytes(element("1a45dfa3", element("4282", b"webm")) + segment)
        assert is_encrypted(path) == (encrypted and kind == 1)


def test_a_plain_matroska_is_not_encrypted(film, tmp_path):
    assert not is_encrypted(copy(film, tmp_path / "film.mkv"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_mostly_filled_in_is_a_decode_error(scorer, frames, tmp_path, suffix):
    """The last quarter of every picture is noise: the decoder notices, and fills it in."""
    path = copy(encode(tmp_path / "plain.mp4", frames * 3, options={"g": "1", "bf": "0"}), tmp_path / f"noise{suffix}")
    data = bytearray(path.read_bytes())
    for position, size in packets(path):
        data[position + size - size // 4 : position + size] = np.random.RandomState(size).bytes(size // 4)
    path.write_bytes(data)
    result = scorer.score(path)
    assert (result.status, result.frames) == (Status.DECODE_ERROR, 36)
    assert "the decoder filled in damage in 36 of 36 frames" in result.reason


def test_an_avi_with_a_hole_is_a_decode_error(scorer, frames, tmp_path):
    """It counts its frames and has no times, so what lies behind the hole cannot be placed."""
    path = encode(tmp_path / "hole.avi", frames * 15, codec="mpeg4", options={"g": "15"})
    data = bytearray(path.read_bytes())
    (start, _), (end, _) = packets(path)[60], packets(path)[120]
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    assert "of 180 frames" in scorer.score(path).reason


def test_a_matroska_whose_end_is_gone_is_a_decode_error(scorer, long, tmp_path):
    """Its size is right, as an interrupted download leaves it: only the tag DURATION tells."""
    path = copy(long, tmp_path / "hole.mkv")
    data = bytearray(path.read_bytes())
    start = packets(path)[60][0]
    data[start:-2000] = bytes(len(data) - 2000 - start)
    path.write_bytes(data)
    result = scorer.score(path)
    assert result.status == Status.DECODE_ERROR
    assert "of 6.0 seconds" in result.reason


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_missing_stretch_is_said_everywhere(run, long, tmp_path, suffix):
    """Two seconds in the middle are zeros. Row, terminal, page and JSON say so in the same words."""
    path = copy(long, tmp_path / f"hole{suffix}")
    data = bytearray(path.read_bytes())
    (start, _), (end, _) = packets(path)[60], packets(path)[120]
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    done = run("-m", "inference.predict", path, "--output", tmp_path / "s.csv", "--evidence", tmp_path / "e")
    row = json.loads((tmp_path / "s.jsonl").read_text())
    notes = [note for note in row["notes"] if note.startswith("incomplete: ")]
    assert notes, row["notes"]
    facts = json.loads((tmp_path / f"e/hole{suffix}.json").read_text())
    page = (tmp_path / f"e/hole{suffix}.html").read_text()
    for note in notes:
        assert note in done.stderr
        assert note in facts["notes"]
        assert note[1:] in page
    plain = copy(long, tmp_path / f"plain{suffix}")
    run("-m", "inference.predict", plain, "--output", tmp_path / "p.csv")
    assert "incomplete" not in (tmp_path / "p.jsonl").read_text()


@pytest.mark.parametrize(("record", "profile"), [("01000a2d00", 5), ("0100102d10", None), ("0100102d40", None)])
def test_dolby_vision_without_a_compatible_layer_is_found(film, tmp_path, record, profile):
    """Profile 8 has a base layer that any player shows, as HDR10 or HLG."""
    box = struct.pack(">I4s", 32, b"dvcC") + bytes.fromhex(record) + bytes(19)
    path = tmp_path / "film.mp4"
    path.write_bytes(struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 40, b"moov") + box)
    assert dolby_vision_profile(path) == profile
    assert dolby_vision_profile(film) is None


def test_dolby_vision_is_a_caveat(film, monkeypatch):
    monkeypatch.setattr("faces.video.dolby_vision_profile", lambda path: 5)
    info = probe(film)
    assert info.caveats == ("Dolby Vision profile 5, whose colours are not converted",)
