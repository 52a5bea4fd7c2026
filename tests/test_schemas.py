"""The JSON Schemas of docs/reference/schemas: they are up to date, and what the commands write fits them exactly."""

import json
import subprocess
import sys

import jsonschema
import pytest

from common.version import VERSION, software
from quality.schemas import FOLDER, texts
from tests.conftest import ROOT


def schema(name):
    return json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def strict(value):
    """A schema whose objects hold no other fields than those that it names."""
    if isinstance(value, list):
        return [strict(part) for part in value]
    if not isinstance(value, dict):
        return value
    closed = {"additionalProperties": False} if "properties" in value and value.get("type") == "object" else {}
    return {name: strict(part) for name, part in value.items()} | closed


@pytest.fixture(scope="module")
def written(film, tmp_path_factory):
    """What is written of a video with a face and of a file that is not a video, by schema; and the video's page."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "text.mp4").write_text("no video")
    found = {"row": [], "evidence": [], "verify": []}
    for option, status, videos in (("--stability", 1, (film, folder / "text.mp4")), ("--shots", 0, (film,))):
        words = [sys.executable, "-m", "inference.predict", *videos, option, "--evidence", folder / option]
        words += ["--output", folder / "s.csv"]
        done = subprocess.run([*map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        found["row"] += [json.loads(line) for line in (folder / "s.jsonl").read_text().splitlines()]
        for path in sorted((folder / option).glob("*.json")):
            kind = "verify" if path.name.endswith(".verify.json") else "evidence"
            found[kind].append(json.loads(path.read_text()))
    assert [len(contents) for contents in found.values()] == [3, 3, 3]
    assert [row["status"] for row in found["row"]] == ["ok", "unsupported", "ok"]
    assert found["row"][0]["forms"] and found["row"][2]["shots"]
    return found | {"page": (folder / "--shots/film.mp4.html").read_text(encoding="utf-8")}


def test_the_files_are_up_to_date():
    assert {path: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == texts()


@pytest.mark.parametrize("name", ["row", "evidence", "verify"])
def test_what_is_written_fits_exactly(written, name):
    validator = jsonschema.Draft202012Validator(strict(schema(name)))
    for content in written[name]:
        validator.validate(content)
        assert not validator.is_valid(content | {"unknown": 1})
        for field in ("schema", "filename", "status"):
            assert not validator.is_valid({key: value for key, value in content.items() if key != field})


def test_results_name_the_software(written):
    assert {row["software"] for row in written["row"]} == {software()}
    made = [content["provenance"]["versions"] for content in written["evidence"]]
    made += [content["versions"] for content in written["verify"]]
    assert {versions["robustforensics"] for versions in made} == {VERSION}
    assert all(software().endswith(versions["commit"]) for versions in made)
    assert f"robustforensics {VERSION}, commit " in written["page"]
