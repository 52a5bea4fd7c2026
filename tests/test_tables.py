"""Tables that other people made are taken or refused, with the file, the line and the name in the complaint."""

import json

import pytest

from common.errors import BadInputError
from common.files import as_text, from_text
from common.folders import files_below, read_filenames
from common.labels import parse_label
from common.tables import by_filename, read_table
from quality.score_files import read_scores, read_truth
from quality.sets.items import Variant
from quality.sets.video_sets import own_table


@pytest.mark.parametrize(("label", "number"), [(0, 0), (1.0, 1), ("1.0", 1), ("fake", 1), (" REAL", 0), ("0", 0)])
def test_labels_are_words_or_numbers(label, number):
    assert parse_label(label) == number


@pytest.mark.parametrize("label", [None, True, 2, "maybe", 0.5, ["REAL"]])
def test_other_labels_are_refused(label):
    with pytest.raises(BadInputError, match="not one of REAL, FAKE, 0, 1"):
        parse_label(label)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('filename\na.mp4\n"12 inch monitor.mp4\nb.mp4\n', r":3: not CSV, perhaps a quote is not closed"),
        ('filename\n"' + "x" * 200_000 + "\n", r"not CSV"),
        ("name\na.mp4\n", r"has no column 'filename': it has name"),
        ("", r"has no column 'filename': it is empty"),
        ("other,filename\na\n", r":2: the row ends before its filename"),
        ("filename\na.mp4\n../b.mp4\n", r":3: unsafe name"),
    ],
)
def test_a_malformed_list_gives_file_and_line(run, tmp_path, text, complaint):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=complaint):
        read_filenames(path)
    done = run("-m", "inference.predict", "--list", path, "--output", tmp_path / "s.csv", check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s.csv").exists()


def test_contradicting_rows_are_refused(tmp_path):
    table, metadata = tmp_path / "truth.csv", tmp_path / "metadata.json"
    table.write_text("filename,label\na.mp4,REAL\nb.mp4,FAKE\na.mp4,FAKE\n")
    with pytest.raises(BadInputError, match=r"truth.csv:4: a.mp4 is also on line 2"):
        read_truth(table)
    metadata.write_text('{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}}')
    with pytest.raises(BadInputError, match=r"a\.mp4 comes twice"):
        read_truth(metadata)


def test_a_label_error_names_file_and_video(tmp_path):
    (tmp_path / "truth.csv").write_text("filename,label\na.mp4,REAL\nb.mp4,perhaps\n")
    with pytest.raises(BadInputError, match=r"truth.csv: b.mp4: label is 'perhaps'"):
        read_truth(tmp_path / "truth.csv")
    (tmp_path / "numbers.json").write_text(json.dumps({"a.mp4": {"label": 0}, "b.mp4": {"label": 1}}))
    assert [truth.label for truth in read_truth(tmp_path / "numbers.json").values()] == [0, 1]


def test_a_score_file_with_an_open_quote_is_one_line(tmp_path):
    (tmp_path / "scores.csv").write_text('filename,label\n"a.mp4,0.5\nb.mp4,0.1\n')
    with pytest.raises(BadInputError, match="perhaps a quote is not closed"):
        read_scores(tmp_path / "scores.csv")


def test_another_tools_lines_beside_a_submission_are_left_alone(run, tmp_path):
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.1\nb.mp4,0.9\n")
    (tmp_path / "s.jsonl").write_text('{"video": "a.mp4", "pred": 0.1}\n')
    (tmp_path / "t.csv").write_text("filename,label\na.mp4,REAL\nb.mp4,FAKE\n")
    done = run("-m", "quality.evaluate", tmp_path / "s.csv", tmp_path / "t.csv", "--output", tmp_path / "e")
    assert "2 videos" in done.stdout


def test_rows_keep_their_lines(tmp_path):
    (tmp_path / "t.csv").write_text('filename,note\na.mp4,"two\nlines"\nb.mp4,\n')
    assert [line for line, _ in read_table(tmp_path / "t.csv")] == [3, 4]
    assert list(by_filename(tmp_path / "t.csv")) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1.mp4", "@x", "'quoted", "plain"])
def test_a_spreadsheet_computes_no_name(name):
    assert from_text(as_text(name)) == name
    assert not str(as_text(name)).startswith(("=", "+", "-", "@"))


def test_the_verdicts_of_a_video_with_a_formulas_name(run, film, tmp_path):
    video = tmp_path / "=1+1.mp4"
    video.write_bytes(film.read_bytes())
    run("-m", "inference.predict", video, "--output", tmp_path / "s.csv")
    assert (tmp_path / "s.verdicts.csv").read_text().splitlines()[1].startswith("'=1+1.mp4,")
    assert (tmp_path / "s.csv").read_text().splitlines()[1].startswith("=1+1.mp4,"), "Kaggle's file keeps the name"


def test_links_to_each_other_end_a_walk(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "x.mp4").touch()
    (tmp_path / "b" / "y.mp4").touch()
    assert sorted(path.name for path in files_below(tmp_path)) == ["x.mp4", "y.mp4"]


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("filename,label,label,,\na.mp4,1,0,,\n")
    with pytest.raises(BadInputError, match=r"t\.csv has two columns 'label'"):
        read_table(tmp_path / "t.csv", ["filename", "label"])


def test_a_split_that_is_none_is_refused(tmp_path):
    """Its video would be in no split, without a word."""
    table = tmp_path / "labels.csv"
    table.write_text("filename,label,split\na.mp4,1,Test\nb.mp4,0,\n")
    assert [item.split for item in own_table(tmp_path, Variant())] == ["test", "test"]
    table.write_text("filename,label,split\na.mp4,1,testing\n")
    with pytest.raises(BadInputError, match=r"labels\.csv: a\.mp4: 'testing' is not one of train, val, test"):
        own_table(tmp_path, Variant())
