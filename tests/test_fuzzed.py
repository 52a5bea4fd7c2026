"""Any bytes give an answer or a clear error, soon: files that hypothesis damages, for all that reads strangers' files.

What is drawn does not change from run to run. The readers here are those in Python; libraries are tested by
tests/test_strange_videos.py and tests/test_soak.py.
"""

import json
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInputError
from common.landmarks import read_landmarks, write_landmarks
from common.tables import by_filename, read_table
from faces import containers
from faces.boxes import parse_boxes
from faces.content_credentials import has_manifest
from faces.file_facts import edit_facts
from inference.evidence.case import read_case
from inference.evidence.pages import read_object
from inference.results import read_results, read_rows
from inference.verdicts import read_calibration
from preprocessing.labels import read_info, read_metadata
from quality.score_files import read_scores, read_truth
from tests.strange import encode
from training.face_tracks import read_list

PATIENCE = 5  # seconds, on a machine that does other things too
NUMBERS = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CONTAINERS = {
    "mp4": {},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
    "mkv": {},
    "avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "ts": {},
}
READERS = (
    *(containers.find_truncation, containers.is_fragmented, containers.video_header, containers.is_encrypted),
    *(containers.dolby_vision_profile, containers.picture_format, containers.other_format, containers.is_container),
    *(lambda path: containers.count_avi_pictures(path, 0), edit_facts, has_manifest),
)


@pytest.fixture(scope="module")
def whole(frames, tmp_path_factory):
    """A small file of each kind of container, as bytes by name."""
    folder = tmp_path_factory.mktemp("whole")
    return {name: encode(folder / f"a.{name}", frames[:3], **how).read_bytes() for name, how in CONTAINERS.items()}


@st.composite
def damage(draw, most=6):
    """A function that damages bytes: overwritten numbers, pieces that are cut out or come twice, an early end."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["number", "byte", "cut", "twice", "end"]),
                st.floats(0, 1, exclude_max=True) | st.floats(0, 0.02),
                st.sampled_from(NUMBERS),
                st.integers(1, 64),
            ),
            min_size=1,
            max_size=most,
        )
    )

    def damaged(content):
        for kind, share, number, length in steps:
            at = int(share * len(content))
            if kind == "number":
                content = content[:at] + number.to_bytes(4, "big") + content[at + 4 :]
            elif kind == "byte":
                content = content[:at] + bytes([number % 256]) + content[at + 1 :]
            elif kind == "cut":
                content = content[:at] + content[at + length :]
            elif kind == "twice":
                content = content[: at + length] + content[at:]
            else:
                content = content[:at]
        return content

    return damaged


def read(reader, path, allowed=()):
    """Call a reader; fail if it takes too long or raises anything else than what is allowed."""
    began = time.monotonic()
    with suppress(*allowed):
        reader(path)
    assert time.monotonic() - began < PATIENCE, reader


@pytest.mark.parametrize("name", CONTAINERS)
@given(damaged=damage())
@settings(max_examples=120)
def test_a_damaged_container_is_described_without_an_error(whole, tmp_path, name, damaged):
    path = tmp_path / "a"
    path.write_bytes(damaged(whole[name]))
    for reader in READERS:
        read(reader, path)


def element(kind, body, size=None):
    """A Matroska element, which may lie about its size."""
    return kind + (0x10000000 | (len(body) if size is None else size)).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "content",
    [
        containers.EBML + b"\x84abcd" + containers.SEGMENT,  # ends where its size should be
        containers.EBML + b"\x01\x7f\xff\xff\xff\xff\xff\xff" + b"abcd",  # ends beyond what a file can hold
    ],
)
def test_matroska_beginnings_that_raised_errors(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    for reader in READERS:
        read(reader, tmp_path / "a")


def test_an_empty_row_of_landmarks_is_refused(tmp_path):
    (tmp_path / "l.csv").write_bytes(landmarks(tmp_path) + b"\n\n")
    with pytest.raises(BadInputError, match=r"l\.csv:4: not enough values"):
        read_landmarks(tmp_path / "l.csv")


KINDS = st.sampled_from([b"\x83", b"\x6d\x80", b"\x62\x40", b"\xae"])


@given(
    st.lists(st.tuples(KINDS, st.binary(max_size=3)), max_size=6),
    st.sampled_from([None, 0, 5000, 0xFFFFFFF]),
    st.integers(0, 9),
)
@settings(max_examples=300)
def test_matroska_headers_that_lie_about_sizes_are_described(tmp_path, content, size, which):
    """The type of a track beyond the end of the header once raised an IndexError."""
    entries = [element(kind, body, size if at == which else None) for at, (kind, body) in enumerate(content)]
    track = element(containers.TRACK, b"".join(entries), size if which == 8 else None)
    header = element(containers.SEGMENT, element(containers.TRACKS, track, size if which == 9 else None))
    path = tmp_path / "a"
    path.write_bytes(containers.EBML + b"\x84abcd" + header)
    for reader in READERS:
        read(reader, path)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x1a\x45\xdf\xa3", b"RIFF....AVI ", b"\0\0\0\x18ftyp", b"G" * 5])
)
@settings(max_examples=300)
def test_any_bytes_are_described_without_an_error(tmp_path, content, magic):
    path = tmp_path / "a"
    path.write_bytes(magic + content)
    for reader in READERS:
        read(reader, path)


ROW = {"schema": 1, "filename": "a.mp4", "label": 0.5, "status": "ok", "reason": "", "frames": 3, "members": {"a": 0.5},
       "image": 0.5, "video": None, "seconds": {}, "faces": 1, "verdict": "uncertain", "forms": [], "by_known": {},
       "each_face": [{"number": 1, "score": 0.5, "rule": "", "decides": True, "members": {}, "detections": 2,
                      "first": 0.0, "last": 1.0, "groups": [0.5]}]}  # fmt: skip
CALIBRATION = {"members": {"a": "ab"}, "unit": "faces", "limits": ["x"], "temperature": 1.5, "shift": 0.1,
               "operating_points": [{"false_positives": 0.05, "threshold": 0.5, "recall": 0.3}],
               "strata": [{"ranges": {"light": [0.1, None]}, "reals": 200, "scores": [0.0, 0.5], "rates": [1.0, 0.25],
                           "counts": [200, 50], "counted": 200, "weighted": False,
                           "recall": {"false_positives": 0.05, "threshold": 0.5, "share": 0.3}}]}  # fmt: skip
TEXTS = {
    "calibration": (lambda folder: json.dumps(CALIBRATION).encode(), read_calibration),
    "rows": (lambda folder: json.dumps(ROW).encode() + b"\n", read_results),
    "lines": (lambda folder: json.dumps(ROW).encode() + b"\n", read_rows),
    "evidence": (lambda folder: json.dumps(ROW).encode(), read_object),
    "case": (lambda folder: b'number = "2026-117"\nnotes = """a\nb"""\n', read_case),
    "table": (lambda folder: b'filename,label\n"a,1.mp4",REAL\nb.mp4,1\n', read_table),
    "scores": (lambda folder: b"filename,label\na.mp4,0.25\nb.mp4,1e-3\n", read_scores),
    "truth": (lambda folder: b"filename,label,original\na.mp4,REAL,\nb.mp4,FAKE,a.mp4\n", read_truth),
    "json table": (lambda folder: b'{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": 1}}', by_filename),
    "metadata": (lambda folder: b'{"a.mp4": {"label": "FAKE", "original": "b.mp4", "split": "train"}}', read_metadata),
    "info": (lambda folder: b'{"frames": 30, "faces": 2}', read_info),
    "list": (lambda folder: b"part/v/frame%d_face1.png 1 30 2 0\n" * 3, read_list),
    "landmarks": (lambda folder: landmarks(folder), read_landmarks),
}


def file_name(kind):
    """A name for a file of a kind of TEXTS, which some readers judge by its suffix."""
    return "t.json" if kind in ("json table", "metadata", "info") else "t.csv"


def landmarks(folder):
    write_landmarks(folder / "l.csv", {"a/b/frame1_face1.png": np.ones((5, 2)), "a/c/frame1_face1.png": None})
    return (folder / "l.csv").read_bytes()


@pytest.mark.parametrize("kind", TEXTS)
@given(damaged=damage(4))
@settings(max_examples=150)
def test_a_damaged_table_is_read_or_refused_by_its_name(tmp_path, kind, damaged):
    make, reader = TEXTS[kind]
    path = tmp_path / file_name(kind)
    path.write_bytes(damaged(make(tmp_path)))
    read(reader, path, [BadInputError])


@given(st.text(alphabet="0123456789 .e-\n", max_size=60))
@settings(max_examples=300)
def test_any_text_of_boxes_is_read_or_refused(text):
    read(parse_boxes, text, [BadInputError])
