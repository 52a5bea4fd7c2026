"""`inference.predict --evidence`: what a score rests on as JSON, and pages that a browser shows."""

import json
import os
import re
import signal
import subprocess
import sys
from base64 import b64decode
from itertools import islice
from urllib.parse import unquote_to_bytes

import cv2
import numpy as np
import pytest

from common.files import sha256
from common.status import Status
from demo.tree import write_video
from faces.notes import failure
from faces.streams import ChangedError
from faces.video import probe, read_frames
from inference.evidence.pages import PAGES, evidence_file, plain
from inference.members import MEMBERS, CropKind
from inference.sampling.look import Wanted, sample
from inference.scoring import Vote, ensemble, face_score, group_score, squeeze
from inference.settings import Settings
from inference.verdicts import verdict
from tests.browser import Page
from tests.conftest import ROOT, interrupt, launch
from tests.strange import encode
from tests.tiny import write_checkpoints

IMAGE_MEMBERS = ["b3", "b0"]
LONG = f"{'x' * 228}{os.fsdecode(bytes([255]))}.mp4"  # not UTF-8, and no room for ".json" and a temporary name


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, weights, clip):
    """Evidence of videos with two faces, with a strange name, without a face, cut off, and absent, and of a pipe."""
    folder = tmp_path_factory.mktemp("evidence")
    write_checkpoints(folder / "models", [*IMAGE_MEMBERS, "sf3"])
    frames = list(islice(read_frames(clip("single_face.mp4")), 10))
    write_video(folder / "two & <faces>.mp4", [np.hstack([frame, cv2.flip(frame, 1)]) for frame in frames], 25.0)
    write_video(folder / LONG, frames, 25.0)
    write_video(folder / "sky.mp4", list(islice(read_frames(clip("no_face.mp4")), 6)), 25.0)
    (folder / "cut.mp4").write_bytes((folder / "sky.mp4").read_bytes()[:2000])
    os.mkfifo(folder / "pipe.mp4")
    names = ["two & <faces>.mp4", LONG, "sky.mp4", "cut.mp4", "absent.mp4", "pipe.mp4"]
    command = [
        "-m", "inference.predict", *(folder / name for name in names), "--models", folder / "models",
        "--members", "b3,b0,sf3", "--device", "cpu", "--output", folder / "s.csv", "--evidence", folder / "out",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return folder


def read(evidence, name):
    return json.loads(evidence_file(evidence / "out", name, ".json").read_text())


def test_the_numbers_lead_from_the_groups_to_the_label(evidence):
    facts = read(evidence, "two & <faces>.mp4")
    assert len(facts["tracks"]) == 2
    votes = {}
    for name, member in facts["members"].items():
        assert len(member["faces"]) == 2
        if member["branch"] == "image":
            for face in member["faces"]:
                groups = [group["score"] for group in face["groups"]]
                assert len(groups) == 2
                assert face["score"] == pytest.approx(group_score(groups).value)
                assert face["groups"][1]["times"] == [0.2, 0.24, 0.28, 0.32, 0.36]
        score = face_score([face["score"] for face in member["faces"]]).value
        assert member["score"] == pytest.approx(squeeze(score) if name == "b3" else score)
        votes[name] = Vote(member["branch"], member["weight"], member["score"])
    result = ensemble(votes)
    assert facts["label"] == pytest.approx(result.final.value)
    assert facts["rule"] == result.final.rule == "0.4 video + 0.6 image"
    assert facts["branches"]["image"] == {"score": pytest.approx(result.image.value), "rule": result.image.rule}
    line = next(
        line for line in (evidence / "s.csv").read_text(errors="surrogateescape").splitlines() if line.startswith("two")
    )
    assert float(line.rpartition(",")[2]) == pytest.approx(facts["label"], abs=1e-8)


def test_a_video_too_short_for_any_member_has_a_page(evidence, run, clip):
    write_video(evidence / "short.mp4", list(islice(read_frames(clip("single_face.mp4")), 3)), 25.0)
    words = ("--models", evidence / "models", "--members", "b0", "--output", evidence / "short.csv")
    run("-m", "inference.predict", evidence / "short.mp4", *words, "--evidence", evidence / "short")
    facts = json.loads((evidence / "short/short.mp4.json").read_text())
    assert (facts["status"], len(facts["tracks"]), facts["thumbnail"]) == ("too_few_frames", 1, None)
    assert "not scored" in (evidence / "short/short.mp4.html").read_text()
    assert "short.mp4" in (evidence / "short/index.html").read_text()


def test_provenance_names_every_file_by_its_content(evidence):
    facts = read(evidence, "two & <faces>.mp4")
    assert facts["input"]["sha256"] == sha256(evidence / "two & <faces>.mp4")
    assert facts["video"] == {
        "duration": 0.4, "starts": 0.0, "fps": 25.0, "frames": 10, "declared_frames": 10, "width": 1280, "height": 360,
        "rotation": 0, "mirrored": False, "stream": 0, "streams": 1, "transfer": None, "still": False,
        "pixel_aspect": "1:1",
        "damaged_packets": 0, "concealed_frames": 0,
    }  # fmt: skip
    assert facts["sampling"]["times"] == [round(number / 25, 3) for number in range(10)]
    for name, file in facts["provenance"]["members"].items():
        assert file["sha256"] == sha256(evidence / "models" / MEMBERS[name].file)
        assert file["config_sha256"] == sha256(ROOT / MEMBERS[name].trained_by)
    assert facts["provenance"]["versions"].keys() >= {"python", "torch", "timm", "av"}
    boxes = [detection["box"] for detection in facts["tracks"][0]["detections"]]
    assert len(boxes) == 10
    assert all(0 <= x1 < x2 <= 1280 and 0 <= y1 < y2 <= 360 for x1, y1, x2, y2 in boxes)


def test_videos_without_a_score_say_why(evidence):
    assert read(evidence, "sky.mp4")["status"] == "no_face"
    assert "6 of 6 frames show no face" in " ".join(read(evidence, "sky.mp4")["not_analysed"])
    assert read(evidence, "cut.mp4")["status"] == "decode_error"
    assert read(evidence, "absent.mp4")["input"] == {
        "path": str(evidence / "absent.mp4"),
        "bytes": None,
        "sha256": None,
    }
    assert read(evidence, "pipe.mp4")["input"]["sha256"] is None
    for name in ("sky.mp4", "cut.mp4", "absent.mp4"):
        page = (evidence / "out" / f"{name}.html").read_text()
        assert "not scored" in page
        assert read(evidence, name)["reason"].split(":")[0] in page


def test_pages_need_nothing_from_elsewhere_and_escape_names(evidence):
    for page in (evidence / "out").glob("*.html"):
        text = page.read_text(errors="surrogateescape")
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
        assert "<faces>" not in text
        assert "@import" not in text
    text = (evidence / "out/two & <faces>.mp4.html").read_text()
    assert "two &amp; &lt;faces&gt;.mp4" in text
    assert text.count("data:image/jpeg;base64,") == 1 + 2 * 2  # the first frame, two groups of two faces
    assert text.count("<polyline") == 2


@pytest.mark.browser
def test_a_browser_shows_the_page(evidence, browser):
    page = Page(browser, width=900, height=1800)
    page.open((evidence / "out/two & <faces>.mp4.html").as_uri())
    image = cv2.imdecode(np.frombuffer(page.picture(), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (1800, 900, 3)
    # The line of the first face and the bar at its strip are blue, those of the second face orange.
    blue = np.all(np.abs(image.astype(int) - (0x99, 0x6E, 0x0B)) < 12, axis=2)
    orange = np.all(np.abs(image.astype(int) - (0x1C, 0x54, 0xB5)) < 12, axis=2)
    assert blue.sum() > 200
    assert orange.sum() > 200
    assert (image < 250).any(axis=2).mean() > 0.1, "the page is nearly empty"
    assert b64decode(page.call("Page.printToPDF")["data"]).startswith(b"%PDF")


@pytest.mark.browser
def test_a_click_sorts_the_index(evidence, browser):
    index = (evidence / "out/index.html").read_bytes().decode(errors="replace")
    order = re.compile(r'data-key="([^"]+\.mp4)"')
    assert [name[:3] for name in order.findall(index)] == ["two", "xxx", "sky", "cut", "abs", "pip"]
    for link in re.findall(r'href="([^"]+)"', index):
        assert (evidence / "out" / os.fsdecode(unquote_to_bytes(link))).is_file()
    page = Page(browser)
    page.open((evidence / "out/index.html").as_uri())
    page.js("document.querySelectorAll('th.sortable')[0].click()")
    shown = order.findall(page.js("document.documentElement.outerHTML"))
    assert [name[:3] for name in shown] == ["xxx", "two", "sky", "pip", "cut", "abs"]  # descending


def test_times_are_the_files_timestamps(frames, weights, tmp_path):
    """Also at a variable frame rate. If the file has no timestamps, times come from the mean frame rate."""
    path = encode(tmp_path / "variable.mp4", frames, times=[number * number for number in range(12)])
    (video,) = sample(path, Wanted(Settings(evidence=True), {CropKind("image", 256)}, weights))
    assert video.timing.source == "timestamps"
    assert video.timing.times == pytest.approx([number * number / 30 for number in range(12)], abs=1e-6)
    raw = encode(tmp_path / "raw.h264", frames)
    (untimed,) = sample(raw, Wanted(Settings(evidence=True), {CropKind("image", 256)}, weights))
    assert untimed.timing.source == "rate"
    assert untimed.timing.times == pytest.approx([number / 30 for number in range(12)])


@pytest.mark.parametrize("change", ["append", "replace"])
def test_a_file_that_changes_while_it_is_read_has_no_score(frames, weights, tmp_path, monkeypatch, change):
    path, other = encode(tmp_path / "x.mp4", frames), encode(tmp_path / "y.mp4", frames)

    def probe_and_change(video):
        info = probe(video)
        if change == "append":
            times = path.stat()
            path.write_bytes(path.read_bytes() + b"more")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        else:
            other.replace(path)
        return info

    monkeypatch.setattr("inference.sampling.look.probe", probe_and_change)
    with pytest.raises(ChangedError, match="changed while it was read") as error:
        sample(path, Wanted(Settings(evidence=True), {CropKind("image", 256)}, weights))
    assert failure(error.value, other=Status.DECODE_ERROR).status == Status.CHANGED


def test_faces_that_were_not_scored_are_counted(run, evidence, clip, tmp_path):
    """A second face in a third of the frames is outvoted and not scored."""
    frames = list(islice(read_frames(clip("single_face.mp4")), 9))
    guests = [cv2.flip(frame, 1) if index < 3 else np.zeros_like(frame) for index, frame in enumerate(frames)]
    with_guest = [np.hstack([frame, guest]) for frame, guest in zip(frames, guests, strict=True)]
    write_video(tmp_path / "guest.mp4", with_guest, 25.0)
    words = ["-m", "inference.predict", tmp_path / "guest.mp4", "--models", evidence / "models", "--members", "b0"]
    run(*words, "--output", tmp_path / "s.csv", "--evidence", tmp_path / "out")
    facts = read(tmp_path, "guest.mp4")
    assert facts["faces"] == {"voted": 1, "voted_in_frames": 6, "in_frames": 9, "detections": 12, "other_detections": 3}
    assert "3 of 12 detections were not scored" in " ".join(facts["not_analysed"])
    assert facts["members"]["b0"]["final_weight"] == 1.0


@pytest.mark.slow
def test_a_kill_before_the_index_loses_no_score_and_missing_evidence_is_made_again(run, evidence, frames, tmp_path):
    """The third video is long, so that the run is still at it when the first two are in the ledger."""
    names = ["one.mp4", "two.mp4", "long.mp4"]
    for name, copies in zip(names, (1, 1, 8), strict=True):
        write_video(tmp_path / name, frames[:6] * copies, 25.0)
    words = [
        "-m", "inference.predict", *(tmp_path / name for name in names), "--models", evidence / "models",
        "--members", "b0", "--output", tmp_path / "s.csv", "--evidence", tmp_path / "out", "--device", "cpu",
    ]  # fmt: skip
    process = launch(*words)
    partial = tmp_path / "s.partial.jsonl"
    interrupt(process, lambda: partial.exists() and partial.read_bytes().count(b"\n") >= 3, signal.SIGKILL)
    process.communicate()
    for path in (tmp_path / "out").glob("*.json"):
        path.unlink()
    run(*words)
    assert (tmp_path / "s.csv").read_text().count("\n") == 4
    assert {path.name for path in (tmp_path / "out").glob("*.mp4.json")} == {f"{name}.json" for name in names}


@pytest.mark.parametrize(
    ("rule", "faces", "words"),
    [
        ("all faces < .4: the lowest (mean of all 1 groups)", 1, "the only face (the only group)"),
        ("all faces < .4: the lowest (mean of all 3 groups)", 2, "all faces < 0.4: the lowest (mean of all 3 groups)"),
        ("the only face (1 of 1 groups > .85: mean of those)", 1, "the only face (the only group)"),
        ("weighted mean of all 1 image members", 0, "the only image member"),
        ("1 of 1 image members > .8: weighted mean of those", 0, "the only image member"),
        ("2 of 2 image members < .2: weighted mean of those", 0, "2 of 2 image members < 0.2: weighted mean of those"),
        ("0.4 video + 0.6 image", 0, "0.4 video + 0.6 image"),
    ],
)
def test_rules_are_plain_on_the_page(rule, faces, words):
    assert plain(rule, faces) == words


@pytest.mark.parametrize(
    ("label", "tone"), [(0.9, "gauge fake"), (0.65, "gauge fake"), (0.5, "gauge "), (0.1, "gauge ")]
)
def test_the_gauge_has_the_colour_of_the_verdict(label, tone):
    """It once went from green to red by the score, which is no verdict: nothing says that a video is real."""
    text = PAGES.from_string('{% import "macros.html" as draw %}<div class="gauge {{ draw.tone(verdict) }}">')
    assert text.render(verdict=verdict(Status.OK, label, "", None).name) == f'<div class="{tone}">'
