"""The reviewer's queue: its order, the false-discovery rate, the marks, and the page in a real browser."""

import csv
import http.client
import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control

from forensics.queue.marks import wilson_interval
from forensics.queue.order import count_discoveries
from tests.browser import Page
from tests.conftest import ROOT


def row(name, label, rate, status="ok", verdict=None):
    verdict = verdict or (
        "not scored" if status != "ok" else "uncertain" if rate is None or rate > 0.2 else "suspicious"
    )
    return {"filename": name, "label": label, "status": status, "false_positive_rate": rate, "verdict": verdict}


ROWS = [
    row("plain.mp4", 0.1, 0.9),
    row("rare.mp4", 0.9, 0.001),
    row("cut.mp4", 0.5, None, "decode_error"),
    row("odd/föhn <b>.mp4", 0.8, 0.02),
    row("dark.mp4", 0.95, None),
    row("tie.mp4", 0.7, 0.02),
    row("doubt.mp4", 0.4, 0.3),
]


@pytest.fixture
def submission(tmp_path):
    path = tmp_path / "submission.jsonl"
    path.write_text("".join(json.dumps(video) + "\n" for video in ROWS))
    return path


def table(folder):
    with (folder / "queue.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_rarest_come_first(run, submission, tmp_path):
    done = run("-m", "forensics.queue", submission, "--output", tmp_path / "q")
    rows = table(tmp_path / "q")
    assert [video["filename"] for video in rows] == [
        "rare.mp4", "odd/föhn <b>.mp4", "tie.mp4", "doubt.mp4", "plain.mp4", "dark.mp4", "cut.mp4",
    ]  # fmt: skip
    # five rates; at 0.1: 0.001 <= 0.02, 0.02 <= 0.04, 0.02 <= 0.06, 0.3 > 0.08, 0.9 > 0.1
    assert [video["discovery"] for video in rows] == ["yes"] * 3 + [""] * 4
    assert [video["in_queue"] for video in rows] == ["yes"] * 3 + [""] * 4
    assert "queue: 3 of 7 videos; 3 of 5 with a rate are under a false-discovery rate of 0.1" in done.stdout
    page = (tmp_path / "q/queue.html").read_text()
    assert "föhn &lt;b&gt;" in page
    assert "doubt.mp4" not in page
    run("-m", "forensics.queue", submission, "--output", tmp_path / "q", "--hours", "1", "--minutes", "12")
    assert [video["in_queue"] for video in table(tmp_path / "q")] == ["yes"] * 5 + [""] * 2, "five videos fit"
    run("-m", "forensics.queue", submission, "--output", tmp_path / "q", "--fdr", "0.01")
    assert [video["discovery"] for video in table(tmp_path / "q")] == ["yes"] + [""] * 6


def test_discoveries_and_intervals_are_those_of_scipy():
    random = np.random.default_rng(0)
    for _ in range(50):
        rates = np.sort(np.concatenate([random.uniform(0, 1, 80), random.uniform(0, 0.01, random.integers(20))]))
        for fdr in (0.01, 0.1, 0.3):
            assert count_discoveries(rates.tolist(), fdr) == int((false_discovery_control(rates) <= fdr).sum())
    assert count_discoveries([], 0.1) == 0
    for part, whole in ((0, 10), (3, 10), (10, 10), (1, 1000)):
        expected = binomtest(part, whole).proportion_ci(method="wilson")
        assert wilson_interval(part, whole) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_share_of_real_videos_among_discoveries_is_as_promised():
    """Real videos get rates as a calibration counts them, fakes score higher: on average at most Q are real."""
    random = np.random.default_rng(1)
    shares = []
    for _ in range(200):
        calibration, real, fake = random.normal(0, 1, 400), random.normal(0, 1, 90), random.normal(3, 1, 10)
        scores = np.concatenate([real, fake])
        rates = ((calibration[None] >= scores[:, None]).sum(1) + 1) / 401
        order = np.argsort(rates)
        discovered = order[: count_discoveries(rates[order].tolist(), 0.2)]
        shares.append(np.mean(discovered < 90) if len(discovered) else 0.0)
    assert np.mean(shares) <= 0.2


def test_a_hundred_thousand_videos(run, tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "submission.jsonl"
    with path.open("w") as file:
        for number, rate in enumerate(random.uniform(0, 1, 100_000)):
            file.write(json.dumps(row(f"v{number}.mp4", 1 - rate, rate)) + "\n")
    done = run("-m", "forensics.queue", path, "--hours", "8", "--output", tmp_path / "q")
    assert "queue: 96 of 100000 videos" in done.stdout
    rates = [float(video["false_positive_rate_percent"]) for video in table(tmp_path / "q")]
    assert (len(rates), rates) == (100_000, sorted(rates))
    assert (tmp_path / "q/queue.html").read_text().count("data-place") == 96


def test_marks_tell_how_many_discoveries_are_real(run, submission, tmp_path):
    (tmp_path / "q").mkdir()
    (tmp_path / "q/marks.csv").write_text(
        'filename,mark,note\nrare.mp4,fake,\ntie.mp4,real,"a, b"\nodd/föhn <b>.mp4,unclear,\nplain.mp4,real,\n'
    )
    done = run("-m", "forensics.queue", submission, "--output", tmp_path / "q")
    assert "of 2 marked videos under a false-discovery rate of 0.1, 1 are real: 50.0% (9.5% to 90.5%)" in done.stdout
    assert "suspicious: 1 real, 1 fake, 1 unclear" in done.stdout
    assert "uncertain: 1 real" in done.stdout
    assert table(tmp_path / "q")[0]["mark"] == "fake"
    assert "a, b" in (tmp_path / "q/queue.html").read_text()
    assert wilson_interval(0, 10)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("content", "words", "complaint"),
    [
        ("", (), "holds no videos"),
        ("[]\n", (), ":1 is not a row of a submission"),
        ('{"filename": "a"}\n', (), ":1 is not a row of a submission"),
        (json.dumps(row("a", float("nan"), 0.5)), (), "must lie in [0, 1]"),
        ("\udcff\n", (), ":1 is not a row of a submission"),
        (json.dumps(row("a", 0.5, 0.5)), ("--fdr", "0"), "is not above 0 and at most 1"),
        (json.dumps(row("a", 0.5, 0.5)), ("--hours", "nan"), "is not a number above 0"),
    ],
)
def test_a_wrong_submission_or_number_gives_one_line(run, tmp_path, content, words, complaint):
    (tmp_path / "s.jsonl").write_text(content, errors="surrogateescape")
    done = run("-m", "forensics.queue", tmp_path / "s.jsonl", "--output", tmp_path / "q", *words, check=False)
    assert (done.returncode, complaint in done.stderr) == (2, True)
    (tmp_path / "q").mkdir(exist_ok=True)
    (tmp_path / "q/marks.csv").write_text("filename,mark\na,fake\n")
    (tmp_path / "s.jsonl").write_text(json.dumps(row("a", 0.5, 0.5)))
    done = run("-m", "forensics.queue", tmp_path / "s.jsonl", "--output", tmp_path / "q", check=False)
    assert (done.returncode, "marks.csv is not a file of marks" in done.stderr) == (2, True)
    (tmp_path / "q/marks.csv").write_bytes("filename,mark,note\na,fake,schön\n".encode("cp1252"))
    done = run("-m", "forensics.queue", tmp_path / "s.jsonl", "--output", tmp_path / "q", check=False)
    assert (done.returncode, "marks.csv is not a file of marks" in done.stderr) == (2, True)


@contextmanager
def served(submission, folder, *words):
    """The port of a real server of this queue."""
    command = [
        sys.executable,
        "-m",
        "forensics.queue",
        submission,
        "--output",
        folder,
        "--serve",
        "--port",
        "0",
        *words,
    ]
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in iter(process.stdout.readline, "") if "open http" in line)
        yield int(line.partition("127.0.0.1:")[2].partition("/")[0])
    finally:
        process.terminate()
        process.wait(20)


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_marks_are_kept_as_they_are_made(submission, tmp_path):
    evidence, folder = tmp_path / "evidence", tmp_path / "q"
    evidence.mkdir()
    (evidence / "rare.mp4.html").write_text("<!doctype html><p>evidence of rare.mp4</p>")
    with served(submission, folder, "--evidence", evidence) as port:
        assert "rare.mp4" in ask(port, "GET", "/")[1]
        assert ask(port, "GET", "/evidence/1") == (200, "<!doctype html><p>evidence of rare.mp4</p>")
        assert ask(port, "GET", "/evidence/2")[0] == 404
        assert ask(port, "GET", "/evidence/99")[0] == 404
        status, answer = ask(port, "PUT", "/marks/1", json.dumps({"mark": "fake", "note": "lips, \n"}))
        assert (status, "0 are real" in answer) == (200, True)
        assert ask(port, "PUT", "/marks/2", json.dumps({"mark": "real"}))[0] == 200
        for place, body in (("1", "{"), ("1", '{"mark": "ok"}'), ("1", "[]"), ("99", "{}"), ("1", "x" * 200_000)):
            assert 400 <= ask(port, "PUT", f"/marks/{place}", body)[0] < 500
        assert ask(port, "PUT", "/marks/2", json.dumps({"mark": "real", "note": "\ud800"}))[0] == 400
        assert ask(port, "PUT", "/marks/2", "[" * 50_000)[0] == 400
        assert ask(port, "PUT", "/marks/2", json.dumps({"mark": "real"}))[0] == 200, "a bad note spoils nothing"
        assert ask(port, "PUT", "/marks/1", "{}", Origin="http://evil.example")[0] == 403
        assert ask(port, "GET", "/", Host="evil.example")[0] == 421
        assert ask(port, "PUT", "/marks/2", json.dumps({"mark": "", "note": ""}))[0] == 200, "a mark is taken back"
    with (folder / "marks.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["filename", "mark", "note"], ["rare.mp4", "fake", "lips, \n"]]


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 26)")])
def test_the_page_sorts_and_keeps_marks_in_a_browser(browser, submission, tmp_path, scheme, paper):
    names = "[...document.querySelectorAll('#queue tbody tr')].map(row => row.dataset.name)"
    with served(submission, tmp_path / "q", "--hours", "1", "--minutes", "15") as port:
        page = Page(browser, scheme=scheme)
        page.open(f"http://127.0.0.1:{port}/")
        page.wait("document.readyState === 'complete'")
        assert page.js(names) == ["rare.mp4", "odd/föhn <b>.mp4", "tie.mp4", "doubt.mp4"]
        page.js("document.querySelectorAll('th button')[4].click()")
        assert page.js(names)[0] == "doubt.mp4", "by score, the least first"
        assert page.js("document.querySelectorAll('th')[4].ariaSort") == "ascending"
        page.js("document.querySelector('[data-place=\"3\"] input[value=real]').click()")
        page.wait("document.getElementById('saved').textContent === 'tie.mp4: real, saved'")
        assert page.js("document.getElementById('summary').textContent").startswith("of 1 marked videos")
        page.open(f"http://127.0.0.1:{port}/")
        page.wait("document.readyState === 'complete'")
        assert page.js("document.querySelector('[data-place=\"3\"] input[value=real]').checked")
        assert page.js("getComputedStyle(document.body).backgroundColor") == paper
        assert page.console() == []
        page.close()
    assert "tie.mp4,real," in (tmp_path / "q/marks.csv").read_text()
