"""Evidence of another file, rows of another run, marks of another reviewer: nothing is replaced without a word."""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace

import cv2
import pytest

from common.errors import BadInputError
from common.files import sha256
from common.lock import locked
from common.status import Status
from forensics.queue.marks import Mark, Marks
from inference.evidence.pages import own_file
from inference.ledger import Ledger, sources_of, state_of
from inference.results import Result, read_results, write_submission
from inference.scorer import Video
from inference.settings import Settings, resolve
from tests.conftest import ROOT
from tests.strange import encode

RESULT = Result("a.mp4", 0.5, Status.OK, "why", 30, (), {}, 0.5, None, {})


@pytest.fixture(scope="module")
def cameras(frames, tmp_path_factory):
    """Two different videos with one name, in two folders."""
    folder = tmp_path_factory.mktemp("cameras")
    for number in (1, 2):
        (folder / f"cam{number}").mkdir()
        encode(folder / f"cam{number}/clip.mp4", frames[number:] * number)
    return folder


def test_evidence_of_another_video_of_the_name_stays(run, cameras, tmp_path):
    evidence = tmp_path / "e"
    first, second = cameras / "cam1/clip.mp4", cameras / "cam2/clip.mp4"
    run("-m", "inference.predict", first, "--evidence", evidence, "--output", tmp_path / "a.csv")
    before = {path.name: path.read_bytes() for path in evidence.iterdir()}
    done = run("-m", "inference.predict", second, "--evidence", evidence, "--output", tmp_path / "b.csv")
    mark = f"clip.mp4~{sha256(second)[:8]}"
    assert f"{evidence / mark}.html" in done.stdout
    assert all((evidence / name).read_bytes() == before[name] for name in before if name != "index.html")
    assert json.loads((evidence / f"{mark}.json").read_text())["input"]["sha256"] == sha256(second)
    index = (evidence / "index.html").read_text()
    assert 'href="clip.mp4.html"' in index
    assert f'href="{mark}.html"' in index
    for video in (first, second):
        assert run("-m", "inference.verify", evidence, video).returncode == 0
    run("-m", "inference.predict", second, "--evidence", evidence, "--output", tmp_path / "b.csv")
    assert len(list(evidence.glob("*.html"))) == 3, "scoring again replaces the own evidence"
    row = json.loads((tmp_path / "b.jsonl").read_text())
    assert own_file(evidence, "clip.mp4", ".html", row["sha256"]).name == f"{mark}.html"


def test_a_missing_file_replaces_nothing(run, cameras, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("-m", "inference.predict", cameras / "cam1/clip.mp4", "--evidence", "e")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run("-m", "inference.predict", "absent/clip.mp4", "--evidence", "e", check=False)
    assert (done.returncode, "absent/clip.mp4 does not exist; nothing was scored" in done.stderr) == (2, True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_default_submission_of_other_videos_is_kept(run, cameras, film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("-m", "inference.predict", cameras / "cam1/clip.mp4")
    first = (tmp_path / "submission.csv").read_text()
    run("-m", "inference.predict", cameras / "cam1/clip.mp4")
    assert len(list(tmp_path.glob("*.csv"))) == 2, "the same video again, so nothing to keep"
    done = run("-m", "inference.predict", cameras / "cam2/clip.mp4")
    assert "submission.csv held another score of clip.mp4: kept as submission-" in done.stdout
    assert first in [path.read_text() for path in tmp_path.glob("submission-*.csv")], "another file of the same name"
    second = (tmp_path / "submission.csv").read_text()
    done = run("-m", "inference.predict", film)
    assert "submission.csv held other videos, such as clip.mp4: kept as submission-" in done.stdout
    kept = [path for path in tmp_path.glob("submission-*.csv") if "verdicts" not in path.name]
    assert sorted(path.read_text() for path in kept) == sorted([first, second])
    assert all(path.with_suffix(".jsonl").is_file() for path in kept)
    assert "film.mp4" in (tmp_path / "submission.csv").read_text()


def test_what_a_killed_run_has_finished_outlives_a_run_over_other_videos(run, cameras, film, tmp_path):
    """The ledger keeps the rows of videos that a run does not score; the run that was killed takes them up."""
    words = ("-m", "inference.predict", "--output", tmp_path / "s.csv")
    run(*words, cameras / "cam1/clip.mp4")
    ledger = tmp_path / "s.partial.jsonl"
    setup = resolve(Settings())
    state = state_of(Video("clip.mp4", cameras / "cam1/clip.mp4"))
    row = json.loads((tmp_path / "s.jsonl").read_text()) | {"label": 0.123}
    begun = setup.depends_on | {"evidence": "None"}
    lines = [begun, {"name": "clip.mp4", "source": state, "result": row}]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(*words, film)
    assert "film.mp4" in (tmp_path / "s.csv").read_text()
    assert [json.loads(line).get("name") for line in ledger.read_text().splitlines()] == [None, "clip.mp4"]
    run(*words, cameras / "cam1/clip.mp4")
    assert "clip.mp4,0.12300000" in (tmp_path / "s.csv").read_text()
    assert not ledger.exists()


def test_outputs_that_differ_in_their_last_suffix_share_no_file(run, cameras, film, tmp_path):
    for name, video in (("run.1", film), ("run.2", cameras / "cam1/clip.mp4")):
        run("-m", "inference.predict", video, "--output", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("run.1", "run.1.jsonl", "run.1.verdicts.csv", "run.2", "run.2.jsonl", "run.2.verdicts.csv"),
    ]
    assert json.loads((tmp_path / "run.1.jsonl").read_text())["filename"] == "film.mp4"


def test_a_name_that_ends_like_digests_has_evidence_of_its_own(run, clip, tmp_path):
    pictures = tmp_path / "p"
    pictures.mkdir()
    shutil.copy(clip("multi_face.jpg"), pictures / "a.jpg")
    image = cv2.imread(str(clip("multi_face.jpg")))
    (pictures / "a.jpg.verify").write_bytes(cv2.imencode(".jpg", image[:, ::-1])[1])
    run(
        "-m", "inference.predict", pictures, "--recursive", "--evidence", tmp_path / "e", "--output", tmp_path / "s.csv"
    )
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 2
    for name in ("a.jpg", "a.jpg.verify"):
        assert run("-m", "inference.verify", tmp_path / "e", pictures / name).returncode == 0


def test_merging_some_videos_keeps_the_ledger_of_an_unfinished_shard(run, cameras, film, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(film, videos / "a.mp4")
    shutil.copy(film, videos / "b.mp4")
    output = tmp_path / "s.csv"
    run("-m", "inference.predict", videos, "--output", output, "--shard", "0/2")
    ledgers = [tmp_path / f"s-{number}-of-2.partial.jsonl" for number in (0, 1)]
    ledgers[1].write_text("{}\n")
    run("-m", "inference.merge", videos / "a.mp4", "--output", output)
    assert [ledger.exists() for ledger in ledgers] == [False, True]


def test_marks_keep_further_columns_and_belong_to_a_content(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text("filename,mark,note,reviewer\na.mp4,real,,Ann\nb.mp4,fake,,Bob\n")
    marks = Marks(path)
    marks.set("a.mp4", Mark("fake", "x"))
    marks.set("c.mp4", Mark("real"), "1" * 64)
    assert path.read_text() == (
        "filename,mark,note,reviewer,sha256\nb.mp4,fake,,Bob,\na.mp4,fake,x,Ann,\nc.mp4,real,,," + "1" * 64 + "\n"
    )
    again = Marks(path)
    assert again.get("c.mp4", "1" * 64) == again.get("b.mp4", "2" * 64)._replace(mark="real") == Mark("real")
    assert again.get("c.mp4", "2" * 64) == Mark(), "another file of this name"
    path.write_text("filename,mark,note\na.mp4,real,\na.mp4,fake,\n")
    with pytest.raises(BadInputError, match=r"marks\.csv:3: a\.mp4 is there twice"):
        Marks(path)


def test_two_runs_into_one_output(film, tmp_path):
    """The second is refused and names the first, which ends well."""
    words = [sys.executable, "-m", "inference.predict", film, "--output", tmp_path / "s.csv"]
    with locked(tmp_path / ".s.csv.lock", "another run"):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path / 's.csv'} is being written already, by host " in done.stderr
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, list(tmp_path.glob(".*"))) == (0, [])


def test_a_ledger_that_begins_with_a_row_is_told_for_what_it_is(run, film, tmp_path):
    (tmp_path / "s.partial.jsonl").write_text('{"name": "a.mp4", "source": null, "result": {}}\n')
    done = run("-m", "inference.predict", film, "--output", tmp_path / "s.csv", check=False)
    assert (done.returncode, "as if two runs had written it" in done.stderr) == (2, True)


def test_two_reviewers_lose_no_mark(tmp_path):
    ann, bob = Marks(tmp_path / "marks.csv"), Marks(tmp_path / "marks.csv")
    ann.set("a.mp4", Mark("fake", "=Ann"))
    bob.set("b.mp4", Mark("real", "Bob"))
    assert {name: Marks(tmp_path / "marks.csv").get(name) for name in ("a.mp4", "b.mp4")} == {
        "a.mp4": Mark("fake", "=Ann"),
        "b.mp4": Mark("real", "Bob"),
    }
    assert bob.get("a.mp4").mark == "fake"
    reviewers = [Marks(tmp_path / "marks.csv") for _ in range(4)]

    def mark_all(number):
        for video in range(10):
            reviewers[number].set(f"{number}-{video}.mp4", Mark("unclear"))

    threads = [threading.Thread(target=mark_all, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Marks(tmp_path / "marks.csv").rows) == 42


def test_a_lock_waits_and_is_removed(tmp_path):
    lock = tmp_path / "lock"
    with locked(lock, ""), pytest.raises(BadInputError, match=r"taken, by host "), locked(lock, "taken", 0.2):
        pass
    with locked(lock, "taken", remove=True):
        assert lock.exists()
    assert not lock.exists()


def test_rows_go_to_standard_output(run, film, tmp_path, monkeypatch):
    """Only rows do, so that another program can read them; nothing is written."""
    monkeypatch.chdir(tmp_path)
    done = run("-m", "inference.predict", film, "--output", "-")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert (row["filename"], row["status"]) == ("film.mp4", "ok")
    assert "predict: 1 ok" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_video_shows_its_frames(run, film, tmp_path):
    assert "frame" in run("-m", "inference.predict", film, "--output", tmp_path / "s.csv").stderr
    two = run("-m", "inference.predict", film, film.parent / "absent.mp4", "--output", tmp_path / "t.csv", check=False)
    assert "2/2" in two.stderr
    assert "video/s" in two.stderr


def test_shards_without_a_file_leave_rows_for_the_merge(run, film, tmp_path):
    """A shard may hold no video, or only missing ones, while others hold the rest."""
    videos = (film, tmp_path / "absent.mp4")
    for shard in ("0/3", "1/3", "2/3"):
        run("-m", "inference.predict", *videos, "--shard", shard, "--output", tmp_path / "s.csv", check=False)
    done = run("-m", "inference.merge", *videos, "--output", tmp_path / "s.csv", check=False)
    assert (done.returncode, "merge: 1 ok, 1 missing" in done.stdout) == (1, True)


def test_the_evidence_of_a_removed_file_does_not_hold(run, film, tmp_path):
    video = tmp_path / "film.mp4"
    video.write_bytes(film.read_bytes())
    run("-m", "inference.predict", video, "--evidence", tmp_path / "e", "--output", tmp_path / "s.csv")
    video.unlink()
    done = run("-m", "inference.verify", tmp_path / "e", video, check=False)
    assert (done.returncode, "this is not the file that was scored" in done.stdout) == (1, True)


def test_foreign_files_in_the_evidence_end_no_run(run, film, tmp_path):
    """As of another release, whose keys differ."""
    (tmp_path / "e").mkdir()
    for suffix in (".json", ".verify.json"):
        (tmp_path / f"e/other.mp4{suffix}").write_text('{"name": "other"}')
    run("-m", "inference.predict", film, "--evidence", tmp_path / "e", "--output", tmp_path / "s.csv")
    assert 'href="film.mp4.html"' in (tmp_path / "e/index.html").read_text()
    assert (tmp_path / "e/other.mp4.json").read_text() == '{"name": "other"}'


def test_results_stay_the_same_when_their_file_is_replaced_or_removed(tmp_path):
    """As by a script that moves a submission as soon as it is there, or by a shard that is scored again."""
    output, details = tmp_path / "s.csv", tmp_path / "s.jsonl"
    written = write_submission(output, [RESULT, replace(RESULT, filename="b.mp4", label=0.75)])
    read = read_results(details)
    write_submission(output, [replace(RESULT, filename="b.mp4", label=0.25)])
    details.unlink()
    for results in (written, read):
        assert [(name, result.label) for name, result in results.items()] == [("a.mp4", 0.5), ("b.mp4", 0.75)]
        assert ("b.mp4" in results, "c.mp4" in results, len(results)) == (True, False, 2)


def test_of_two_results_of_a_video_the_ledger_keeps_the_later_one(tmp_path):
    ledger = Ledger(tmp_path / "s.csv", {"members": 1})
    for label in (0.25, 0.5):
        ledger.add("a.mp4", ["a.mp4", 3, 5], {"label": label})
        ledger.add("b.mp4", None, {"label": label})
    again = Ledger(tmp_path / "s.csv", {"members": 1})
    assert again.result("a.mp4", ["a.mp4", 3, 5]) == {"label": 0.5}
    assert (again.result("a.mp4", ["a.mp4", 4, 5]), again.result("c.mp4", None)) == (None, None)
    again.close({"b.mp4"})
    assert Ledger(tmp_path / "s.csv", {"members": 1})["a.mp4"] == {"label": 0.5}
    assert sources_of(tmp_path / "s.partial.jsonl") == {"a.mp4": ["a.mp4", 3, 5]}


def test_a_disk_that_fills_up_costs_only_the_result_that_does_not_fit(tmp_path):
    """The system writes what fits of a line, and says so by a number only."""
    script = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from inference.ledger import Ledger\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "ledger = Ledger(Path('s.csv'), {})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "for number in range(9):\n"
        "    ledger.add(str(number), None, {'label': 0.5})\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "No space left on device: 's.partial.jsonl'" in done.stderr
    assert list(Ledger(tmp_path / "s.csv", {}).offsets) == ["0", "1", "2"]
