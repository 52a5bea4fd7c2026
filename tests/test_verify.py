"""`inference.verify`: whether a score can be repeated, what changed, what was tampered with, and who signed."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from common.files import sha256
from faces.video import read_frames
from inference.evidence.differences import Difference, differences, split
from inference.evidence.pages import verify_json
from tests.strange import encode


@pytest.fixture(scope="module")
def made(film, weights, tmp_path_factory):
    """A clip and its evidence, made in another folder than the one it is verified in."""
    from inference import Scorer

    folder = tmp_path_factory.mktemp("made")
    shutil.copy(film, folder / "clip.mp4")
    with Scorer() as scorer:
        scorer.score(folder / "clip.mp4").save_evidence(folder / "evidence")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def verify(run, folder, *more, video="clip.mp4"):
    return run("-m", "inference.verify", folder / "evidence", folder / video, *more, check=False)


def update_digests(folder):
    """Make verify.json fit a JSON that was edited, as someone who knows how would."""
    page, facts = (folder / f"evidence/clip.mp4{suffix}" for suffix in (".html", ".json"))
    digests = {".json": sha256(facts), ".html": sha256(page)}
    promised = verify_json(json.loads(facts.read_text()), digests)
    (folder / "evidence/clip.mp4.verify.json").write_text(json.dumps(promised))


def edit(folder, change):
    path = folder / "evidence/clip.mp4.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_same_clip_gives_the_same_numbers(run, copy):
    done = verify(run, copy)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "verify: clip.mp4: identical")
    assert "not signed" in done.stdout
    assert "as they were written" in done.stdout
    assert "changed" not in done.stdout
    again = run("-m", "inference.verify", copy / "evidence/clip.mp4.json", copy / "clip.mp4")
    assert again.stdout.splitlines()[-1] == "verify: clip.mp4: identical"


def test_verify_json_holds_what_is_needed(made):
    content = json.loads((made / "evidence/clip.mp4.verify.json").read_text())
    assert content["video"] == sha256(made / "clip.mp4")
    assert content["files"] == {suffix: sha256(made / f"evidence/clip.mp4{suffix}") for suffix in (".json", ".html")}
    assert content["weights"].keys() == {"lite0", "lite2", "detector", "calibration"}
    assert content["locks"].keys() == {"requirements.lock", "requirements-score.lock"}
    assert content["settings"].keys() == {"workers", "max_frames", "faces", "decide_by", "by_shots", "stability"}


@pytest.mark.parametrize("file", ["clip.mp4.json", "clip.mp4.html"])
def test_a_changed_file_is_noticed(run, copy, file):
    path = copy / "evidence" / file
    path.write_text(path.read_text() + " ")
    done = verify(run, copy)
    assert f"{path} was changed after it was written, or is missing" in done.stdout
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "verify: clip.mp4: DOES NOT HOLD")


def test_a_changed_number_is_found_even_where_the_digests_fit(run, copy):
    edit(copy, lambda content: content.update(label=content["label"] + 0.2))
    update_digests(copy)
    done = verify(run, copy)
    assert done.returncode == 1
    assert "as they were written" in done.stdout
    assert "1 number differs; the furthest: label" in done.stdout
    assert "(2.0e-01)" in done.stdout


def test_numbers_in_the_file_of_digests_are_checked_too(run, copy):
    path = copy / "evidence/clip.mp4.verify.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"label": 0.99, "verdict": "likely fake"}))
    done = verify(run, copy)
    assert (done.returncode, "does not agree with the JSON" in done.stdout) == (1, True)


def test_another_file_with_the_same_frames_is_not_the_one_that_was_scored(run, copy):
    path = copy / "clip.mp4"
    path.write_bytes(path.read_bytes() + b"\0\0\0\x0cfree\0\0\0\0")
    done = verify(run, copy)
    assert "this is not the file that was scored" in done.stdout
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "verify: clip.mp4: DOES NOT HOLD")


def test_the_evidence_of_a_video_in_a_folder_is_found_by_its_path(run, copy, clip):
    (copy / "videos/sub").mkdir(parents=True)
    shutil.copy(copy / "clip.mp4", copy / "videos/clip.mp4")
    shutil.copy(clip("no_face.mp4"), copy / "videos/sub/clip.mp4")
    (copy / "list.csv").write_text("filename\nclip.mp4\nsub/clip.mp4\n")
    run("-m", "inference.predict", "--list", copy / "list.csv", "--videos", copy / "videos", "--max-frames", 10,
        "--evidence", copy / "evidence", "--output", copy / "s.csv")  # fmt: skip
    for name in ("clip.mp4", "sub/clip.mp4"):
        done = run("-m", "inference.verify", copy / "evidence", copy / "videos" / name)
        assert done.stdout.splitlines()[-1] == "verify: clip.mp4: identical"


def test_another_video_is_reported_as_changed(run, copy):
    frames = [255 - frame for frame in read_frames(copy / "clip.mp4")]
    encode(copy / "clip.mp4", [np.ascontiguousarray(frame) for frame in frames])
    done = verify(run, copy)
    assert done.returncode == 1
    assert "verify: changed: input.sha256" in done.stdout
    assert "DOES NOT HOLD" in done.stdout


@pytest.mark.slow
def test_another_runtime_is_the_same_within_the_tolerance(run, copy):
    """Evidence made by PyTorch claims to be ONNX Runtime's, so the numbers of two runtimes are compared."""
    run("-m", "inference.predict", copy / "clip.mp4", "--runtime", "torch", "--device", "cpu",
        "--evidence", copy / "evidence", "--output", copy / "s.csv")  # fmt: skip
    edit(copy, lambda content: content["provenance"].update(runtime="onnx"))
    update_digests(copy)
    done = verify(run, copy)
    assert done.returncode == 0
    assert "numbers differ; the furthest: " in done.stdout
    assert "changed: provenance.versions.torch" in done.stdout
    assert done.stdout.splitlines()[-1] == "verify: clip.mp4: the same within 0.001"


def ssh(*words, **options):
    subprocess.run(["ssh-keygen", *map(str, words)], check=True, capture_output=True, **options)


def test_a_signature_says_who_made_it(run, copy):
    if not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen here (Debian: openssh-client)")
    ssh("-t", "ed25519", "-N", "", "-f", copy / "key", "-C", "me@example.org")
    key = " ".join((copy / "key.pub").read_text().split()[:2])
    (copy / "signers").write_text(f"me@example.org {key}\n")
    file = copy / "evidence/clip.mp4.verify.json"
    by = ("--signers", copy / "signers", "--identity")
    unsigned = verify(run, copy, *by, "me@example.org")
    assert (unsigned.returncode, "is not signed" in unsigned.stderr) == (2, True)
    ssh("-Y", "sign", "-f", copy / "key", "-n", "evidence", file)
    assert "signed; the signer was not checked" in verify(run, copy).stdout
    done = verify(run, copy, *by, "me@example.org")
    assert (done.returncode, "signed by me@example.org" in done.stdout) == (0, True)
    assert verify(run, copy, *by, "you@example.org").returncode == 1
    assert verify(run, copy, "--signers", copy / "signers").returncode == 2
    edit(copy, lambda content: content.update(label=0.9))
    update_digests(copy)
    done = verify(run, copy, *by, "me@example.org")
    assert (done.returncode, "is not a valid signature" in done.stdout) == (1, True)


def test_what_is_not_evidence_gives_one_line(run, copy, film):
    done = run("-m", "inference.verify", copy / "evidence", film, check=False)
    assert (done.returncode, "film.mp4.json is missing" in done.stderr) == (2, True)
    (copy / "evidence/clip.mp4.json").write_text("[]")
    assert "is not evidence" in verify(run, copy).stderr
    (copy / "evidence/clip.mp4.json").write_text("{}")
    assert "does not say how it was made" in verify(run, copy).stderr


def test_differences_are_sorted_into_names_and_numbers():
    before = {"label": 0.5, "status": "ok", "rule": "a", "faces": [{"box": [1, 2]}], "input": {"path": "x", "bytes": 3}}
    after = {"label": 0.5004, "status": "no_face", "rule": "b", "faces": [{"box": [2, 2]}, {"box": [1, 1]}]}
    names, numbers = split(differences(before, after))
    assert [difference.place for difference in names] == ["rule", "input.bytes"]
    allowed = {difference.place: difference.distance <= difference.allowed for difference in numbers}
    assert allowed == {
        "label": True, "status": False, "faces[0].box[0]": True, "faces[1].box[0]": False, "faces[1].box[1]": False,
    }  # fmt: skip
    by_step = {"label": 0.5, "false_positive_rate": 0.1, "verdict": "suspicious", "conditions": {"face_pixels": 84.0}}
    moved = {"label": 0.5001, "false_positive_rate": 0.2, "verdict": "uncertain", "conditions": {"face_pixels": 84.1}}
    names, numbers = split(differences(by_step, moved))
    assert [difference.place for difference in names] == ["false_positive_rate", "verdict"], "they follow the label"
    assert all(difference.distance <= difference.allowed for difference in numbers)
    _, numbers = split(differences(by_step, by_step | {"verdict": "likely fake"}))
    assert [difference.place for difference in numbers] == ["verdict"], "no other number explains the change"
    assert str(Difference("label", 0.5, 0.75)) == "label 0.5 -> 0.75 (2.5e-01)"
