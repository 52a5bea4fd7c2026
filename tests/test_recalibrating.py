"""The page docs/use/recalibrating.md: its commands, run one after another."""

import json
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs/use/recalibrating.md").read_text(encoding="utf-8")
REALS = 100  # as many as a calibration needs
QUICKER = {"inference.predict": ("--workers", "1", "--max-frames", "5"), "quality.evaluate": ("--rounds", "5")}


def blocks():
    """The lines of the page's indented blocks."""
    return [re.sub(r"^    ", "", block, flags=re.M).splitlines() for block in re.findall(r"(?m)(?:^    \S.*\n)+", PAGE)]


def repeat_rows(folder):
    """Let the scores of the real film stand for those of REALS films, and give the fake a high score."""
    rows = {row["filename"]: row for row in map(json.loads, (folder / "fit.jsonl").read_text().splitlines())}
    real = [rows["real.mp4"] | {"filename": f"real{number}.mp4"} for number in range(REALS)]
    rows = [*real, rows["fake.mp4"] | {"label": 0.99}]
    (folder / "fit.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "fit.csv").write_text("filename,label\n" + "".join(f"{r['filename']},{r['label']}\n" for r in rows))


@pytest.mark.slow
def test_the_commands_of_the_page_fit_check_and_use_a_calibration(run, film, weights, tmp_path, capfd):
    for name in ("fit/real.mp4", "fit/fake.mp4", "check/one.mp4", "check/two.mp4", "clip.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(film)
    truth = {**{f"real{number}.mp4": "REAL" for number in range(REALS)}, "fake.mp4": "FAKE"}
    truth |= {"one.mp4": "REAL", "two.mp4": "FAKE"}
    example = next(block for block in blocks() if block[0].startswith("filename,label"))
    columns = example[0]
    assert columns == "filename,label,original"
    (tmp_path / "truth.csv").write_text("\n".join([columns, *(f"{name},{label}," for name, label in truth.items())]))

    commands = [line.split() for block in blocks() for line in block if line.startswith("python -m ")]
    assert [words[2] for words in commands] == [
        *("inference.predict", "quality.evaluate", "inference.predict", "quality.evaluate", "inference.predict"),
    ]  # fmt: skip
    printed = []
    for words in commands:
        paths = [
            tmp_path / word if re.search(r"[./]", word) or word in ("fitted", "checked") else word for word in words[3:]
        ]
        more = ["--output", tmp_path / "clip.csv"] if "clip.mp4" in words else []
        printed.append(run("-m", words[2], *paths, *more, *QUICKER[words[2]]).stdout)
        if "fit.csv" in words and words[2] == "inference.predict":
            repeat_rows(tmp_path)
    assert f"| {REALS} |" in printed[1], "one stratum of all real videos"
    assert "predict --calibration takes it for lite0,lite2" in printed[1]
    (stratum,) = json.loads((tmp_path / "calibration.json").read_text())["strata"]
    assert "bits_per_pixel" in stratum["ranges"]
    row = json.loads((tmp_path / "clip.jsonl").read_text())
    assert row["judgement"]["unit"] == "videos"
    assert row["false_positive_rate"] == pytest.approx(1.0), "all real videos score as high, because it is one of them"

    snippet = "\n".join(next(block for block in blocks() if block[0] == "import csv"))
    capfd.readouterr()
    exec(snippet.replace('open("', f'open("{tmp_path}/'), {})
    assert capfd.readouterr().out == "0.0% of 1\n"
