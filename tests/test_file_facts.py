"""What a container says of its making, as the evidence shows it; never part of a score."""

import json
import struct

import av
import pytest

from faces.file_facts import file_facts
from tests.strange import encode


def box(kind, content):
    return struct.pack(">I4s", len(content) + 8, kind) + content


def test_encoder_times_and_streams_are_told(frames, tmp_path):
    path = tmp_path / "clip.mp4"
    encode(tmp_path / "plain.mp4", frames[:5], sound_seconds=1)
    with av.open(str(tmp_path / "plain.mp4")) as source, av.open(str(path), "w") as target:
        target.metadata.update(creation_time="2024-05-06T07:08:09Z", comment="made \x07 by hand")
        streams = {one.index: target.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    facts = dict(file_facts(path, 0))
    assert facts["container"] == "QuickTime / MOV"
    assert facts["creation_time"].startswith("2024-05-06T07:08:09")
    assert facts["comment"] == "made \ufffd by hand"
    assert facts["encoder"].startswith("Lavf")
    assert facts["stream 0"].startswith("video, h264, 640x360")
    assert facts["stream 0"].endswith(", scored")
    assert facts["stream 1"].startswith("audio, aac")
    assert facts["stream 1"].endswith(", not scored")


def test_edit_lists_are_told(clip):
    facts = dict(file_facts(clip("face_noface.mov"), 1))
    assert facts["edit list 1"] == "edits: 2, the first from -1 in the media's time units"
    assert "encoder HEVC" in facts["stream 1"]


@pytest.mark.parametrize(
    "header",
    [
        b"".join(box(b"trak", box(b"edts", box(b"elst", b"\0" * 4))) for _ in range(3)),  # too short for a number
        box(b"trak", box(b"edts", box(b"elst", b"\1" + b"\xff" * 300))),
        box(b"trak", b"\0\0\0\3edts"),
        b"\0\0\0\x08free" * 50_000,
    ],
)
def test_a_strange_header_spoils_nothing(film, tmp_path, header):
    path = tmp_path / "strange.mp4"
    path.write_bytes(film.read_bytes() + box(b"moov", header))
    assert dict(file_facts(path, 0))["container"] == "QuickTime / MOV"


def test_boxes_in_boxes_without_end_are_no_trouble(film, tmp_path):
    inner = b""
    for _ in range(3000):
        inner = box(b"trak", inner)
    (tmp_path / "deep.mp4").write_bytes(film.read_bytes() + box(b"moov", inner))
    assert dict(file_facts(tmp_path / "deep.mp4", 0))


def test_the_evidence_has_a_table_of_it(run, film, weights, tmp_path):
    run("-m", "inference.predict", film, "--evidence", tmp_path, "--output", tmp_path / "s.csv")
    facts = json.loads((tmp_path / "film.mp4.json").read_text())["file"]
    assert facts["container"] == "QuickTime / MOV"
    page = (tmp_path / "film.mp4.html").read_text()
    assert "What the file says about itself" in page
    assert facts["stream 0"] in page
