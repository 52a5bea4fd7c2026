"""A case in the evidence, the conclusion that a score allows, and the bundle that is handed over."""

import hashlib
import json
import re
import shutil
import subprocess
import zipfile

import pytest

from common.errors import BadInputError
from common.status import Status
from common.version import NAME, VERSION
from inference.evidence.bundle import unpacked
from inference.evidence.case import case_of, read_case
from inference.evidence.conclusion import ALLOWED, conclusion
from inference.members import MODELS
from inference.results import Result
from inference.sampling.sampled import Conditions
from inference.verdicts import BY_RATE, FILE, Judgement, read_calibration

CASE = (
    'number = "2026-117"\nexhibit = "A-3"\nexaminer = "A. <Example>"\nquestion = "Swapped?"\nnotes = """One.\nTwo."""\n'
)
NAMES = [f"film.mp4{suffix}" for suffix in (".html", ".json", ".verify.json")]


@pytest.fixture(scope="module")
def handed_over(film, scorer, tmp_path_factory):
    """Evidence for a case, and its video."""
    folder = tmp_path_factory.mktemp("handed")
    shutil.copyfile(film, folder / "film.mp4")
    (folder / "case.toml").write_text(CASE)
    scorer.score(folder / "film.mp4").save_evidence(folder / "evidence", read_case(folder / "case.toml"))
    return folder


def test_the_page_shows_the_case_and_the_conclusion(run, film, tmp_path):
    (tmp_path / "case.toml").write_text(CASE)
    words = ("-m", "inference.predict", film, "--output", "-", "--case", tmp_path / "case.toml")
    row = json.loads(run(*words, "--evidence", tmp_path / "out").stdout)
    content = json.loads((tmp_path / "out/film.mp4.json").read_text())
    case = content["case"]
    assert (case["number"], case["exhibit"], case["notes"]) == ("2026-117", "A-3", "One.\nTwo.")
    assert case["date"][:3] == "202" and case["date"][-6] in "+-"
    sentences = content["conclusion"]
    assert f"film.mp4 (SHA-256 {row['sha256']})" in sentences[0] and f"version {VERSION}, commit " in sentences[0]
    assert f"a score of {row['label']:.2f}, on a scale from 0" in sentences[1] and f'"{row["verdict"]}"' in sentences[1]
    low, high = sorted(row["members"], key=row["members"].get)
    values = [row["members"][name] for name in (low, high)]
    assert sentences[2] == f"Its 2 networks give from {values[0]:.2f} ({low}) to {values[1]:.2f} ({high})."
    assert sentences[3] == ALLOWED[row["verdict"]]
    calibration = read_calibration(MODELS / FILE)
    recall = calibration.stratum_of(Conditions(**row["conditions"])).recall
    assert sentences[4] == (
        f"A score that is not high says little: {1 - recall.share:.0%} of the known fakes in the calibration that are "
        f"shown alike score below {recall.threshold:.2f}, the limit that 5% of such real faces exceed."
    )
    assert sentences[5:-1] == list(calibration.limits)
    assert "single faces from DFDC's calibration half, " in sentences[5] and "worst in inswapper (0.85)" in sentences[6]
    assert "of DFDC's test half, which were not used for fitting, a stated rate of 5% was in fact 8%" in sentences[7]
    assert "of UTKFace, these score above 0.5: 18.4% (White)" in sentences[8]
    page = (tmp_path / "out/film.mp4.html").read_text()
    assert "A. &lt;Example&gt;" in page and case["date"] in page and "SHA-256 <code>" in page
    assert "<dt>stratum</dt>" in page and "<dt>version</dt>" in page
    assert "sees crops at 192 pixels; trained by image_based/configs/lite0/config_blends224.yaml" in page
    assert "<td>requirements.lock</td>" in page and "<td>settings</td>" in page
    done = run(*words, check=False)
    assert (done.returncode, "--case is shown in the evidence" in done.stderr) == (2, True)


def test_what_a_case_may_hold(tmp_path):
    for text, message in (
        (
            'examinator = "A"',
            "no examinator: it has number, exhibit, question, laboratory, examiner, reviewer, notes",
        ),
        ("number = 117", "number of a case must be text"),
        (f'notes = "{"x" * 20_001}"', "notes of a case must be text of at most 20,000"),
        ("number", "case.toml: Expected"),
    ):
        (tmp_path / "case.toml").write_text(text)
        with pytest.raises(BadInputError, match=message):
            read_case(tmp_path / "case.toml")
    assert case_of({}).number == ""


def result(verdict, rate, status=Status.OK):
    judgement = None if rate is None else Judgement(rate, 500, "faces", "")
    return Result("a.mp4", 0.7, status, "why", 30, (), {}, 0.7, None, {}, verdict=verdict, judgement=judgement)


@pytest.mark.parametrize("verdict", [verdict.name for verdict in BY_RATE])
def test_every_verdict_has_its_conclusion(verdict):
    sentences = conclusion(result(verdict, 0.5), "ab", still=False, calibration=read_calibration(MODELS / FILE))
    assert ALLOWED[verdict] in sentences and "photo" not in " ".join(sentences).lower()
    assert ("supports that" in ALLOWED[verdict]) == (verdict == "likely fake")
    assert "not the probability" in sentences[-1]


def test_a_photo_has_its_warning_and_no_calibration_gives_no_conclusion():
    calibration = read_calibration(MODELS / FILE)
    of_photo = conclusion(result("uncertain", 0.5), "ab", True, calibration)
    assert any("beauty filters" in sentence for sentence in of_photo)
    for given, known in ((result("likely fake", None), calibration), (result("likely fake", 0.001), None)):
        text = " ".join(conclusion(given, "ab", False, known))
        assert "no conclusion" in text and "supports that" not in text
    unread = conclusion(result("not scored", None, Status.MISSING), None, False, calibration)
    assert unread[1] == "It got no score (missing: why), which supports no conclusion."


def test_a_bundle_is_verified_as_one_file(run, handed_over, tmp_path):
    bundle = tmp_path / "film.mp4.zip"
    done = run("-m", "inference.bundle", handed_over / "evidence", "film.mp4", "--output", bundle)
    with_pdf = bool(shutil.which("chromium") or shutil.which("google-chrome"))
    assert (f"{bundle}, not signed, with a PDF" in done.stdout) == with_pdf
    with zipfile.ZipFile(bundle) as content:
        note = content.read("film.mp4.README.txt").decode()
        assert set(content.namelist()) == {*NAMES, "film.mp4.README.txt", *(["film.mp4.pdf"] if with_pdf else [])}
        assert "python -m inference.verify film.mp4.zip film.mp4" in note and ("film.mp4.pdf" in note) == with_pdf
        for name in NAMES:
            assert content.read(name) == (handed_over / "evidence" / name).read_bytes()
        assert not with_pdf or content.read("film.mp4.pdf").startswith(b"%PDF")
    done = run("-m", "inference.verify", bundle, handed_over / "film.mp4")
    assert "film.mp4: identical" in done.stdout and f"verify: {bundle}: not signed" in done.stdout
    assert f"not checked, because there is no digest of it: the note{' and the PDF' * with_pdf}" in done.stdout
    digest = hashlib.sha256((handed_over / "film.mp4").read_bytes()).hexdigest()
    assert f"film.mp4: SHA-256 {digest}" in done.stdout
    assert re.match(rf"verify: 20\d\d-\S+, {NAME}, version {VERSION}, commit ", done.stdout)
    other = tmp_path / "changed.zip"
    with zipfile.ZipFile(bundle) as content, zipfile.ZipFile(other, "w") as changed:
        for name in NAMES:
            changed.writestr(name, content.read(name).replace(b"2026-117", b"2026-118"))
    done = run("-m", "inference.verify", other, handed_over / "film.mp4", check=False)
    assert done.returncode == 1
    assert "was changed after it was written" in done.stdout and "DOES NOT HOLD" in done.stdout


def test_changed_evidence_is_not_bundled(run, handed_over, tmp_path):
    shutil.copytree(handed_over / "evidence", tmp_path / "evidence")
    page = tmp_path / "evidence/film.mp4.html"
    page.write_text(page.read_text() + "<p>And it is fake.</p>")
    words = ("-m", "inference.bundle", tmp_path / "evidence", "film.mp4", "--output", tmp_path / "b.zip")
    done = run(*words, check=False)
    assert (done.returncode, "film.mp4.html was changed after it was written" in done.stderr) == (2, True)
    (tmp_path / "film.mp4").write_bytes(b"another")
    done = run("-m", "inference.bundle", handed_over / "evidence", tmp_path / "film.mp4", check=False)
    assert (done.returncode, "is not the file that this evidence is about" in done.stderr) == (2, True)
    assert not (tmp_path / "b.zip").exists()


def test_a_signature_goes_along(run, handed_over, tmp_path):
    shutil.copytree(handed_over / "evidence", tmp_path / "evidence")
    key, signed = tmp_path / "key", tmp_path / "evidence/film.mp4.verify.json"
    for words in (["-t", "ed25519", "-N", "", "-f", key], ["-Y", "sign", "-f", key, "-n", "evidence", signed]):
        subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, capture_output=True)
    done = run("-m", "inference.bundle", tmp_path / "evidence", "film.mp4", "--output", tmp_path / "b.zip")
    assert "b.zip, signed" in done.stdout
    done = run("-m", "inference.verify", tmp_path / "b.zip", handed_over / "film.mp4")
    assert "signed; the signer was not checked" in done.stdout


@pytest.mark.parametrize(
    "names",
    [
        ["a.html", "a.json"],
        ["a.html", "a.json", "a.verify.json", "b.json"],
        ["../a.html", "../a.json", "../a.verify.json"],
        ["a.html", "a.json", "a.json", "a.verify.json"],
    ],
)
def test_a_zip_file_that_is_no_bundle_is_refused(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as bundle:
        for name in names:
            bundle.writestr(name, "{}")
    with pytest.raises(BadInputError, match="is not a bundle"), unpacked(tmp_path / "x.zip"):
        pass


def test_a_file_that_is_no_zip_and_a_huge_one_are_refused(tmp_path, monkeypatch):
    (tmp_path / "x.zip").write_bytes(b"PK" + bytes(100))
    with pytest.raises(BadInputError, match="is not a bundle"), unpacked(tmp_path / "x.zip"):
        pass
    monkeypatch.setattr("inference.evidence.bundle.MOST", 10)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as bundle:
        for name in ("a.html", "a.json", "a.verify.json"):
            bundle.writestr(name, "{    }")
    with pytest.raises(BadInputError, match="holds more than 10 bytes"), unpacked(tmp_path / "x.zip"):
        pass
