"""Our figures beside published ones: the table in the documents is the command's."""

import json

import pytest

from tests.conftest import ROOT

OURS = "docs/figures/sets.json"


def test_the_document_holds_what_the_command_prints(run):
    printed = run("-m", "quality.published", OURS).stdout
    assert printed in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    crops = {row["set"]: row for row in json.loads((ROOT / OURS).read_text()) if not row["part"]}
    assert f"{crops['celebdf_val']['auc']:.4f}, 1085 crops" in printed


def test_a_benchmark_stands_beside_figures_of_its_set_level_and_compression(run, tmp_path):
    of = {
        "dataset": "ffpp", "compression": "c23", "split": "test", "max_videos": None, "all_manipulations": True,
        "run": {"members": {}}, "coverage": {"real": {"ok": 138, "no_face": 2}, "NeuralTextures": {"ok": 140}},
    }  # fmt: skip
    content = of | {
        "overall": {"video_auc": [0.91, 0.88, 0.94], "frame_auc": [0.9, 0.87, 0.93], "eer": [0.1, 0.1, 0.1]},
        "by_manipulation": {"NeuralTextures": {"video_auc": [0.8, 0.7, 0.9], "frame_auc": [None, None, None]}},
    }
    (tmp_path / "benchmark.json").write_text(json.dumps(content))
    lines = run("-m", "quality.published", tmp_path / "benchmark.json").stdout.splitlines()
    ours = {tuple(cell.strip() for cell in line.split("|")[1:3]): line.split("|")[-3].strip() for line in lines[2:]}
    assert ours["FaceForensics++ c23", "videos"] == "0.9100 (0.880 to 0.940), 280 videos, test of c23"
    assert ours["FaceForensics++ c23", "frames"].startswith("0.9000")
    assert ours["FaceForensics++ c23 NeuralTextures", "videos"].startswith("0.8000")
    for change in ({"split": "val"}, {"max_videos": 9}, {"run": {"detector": "theirs.py"}}):
        (tmp_path / "other.json").write_text(json.dumps(content | change))
        done = run("-m", "quality.published", tmp_path / "other.json", check=False)
        assert "it is not of our members on a whole test list" in done.stderr
    (tmp_path / "some.json").write_text(json.dumps(content | {"all_manipulations": False}))
    assert "0.9100 (0.880" not in run("-m", "quality.published", tmp_path / "some.json").stdout
    others = {key: value for key, value in ours.items() if key[0] != "FaceForensics++ c23"}
    assert [key for key, value in others.items() if value] == [("FaceForensics++ c23 NeuralTextures", "videos")]


@pytest.mark.parametrize("content", ["{", "3", '{"dataset": "ffpp"}', '[{"set": "ffpp_val"}]'])
def test_another_file_is_refused(run, tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    done = run("-m", "quality.published", tmp_path / "x.json", check=False)
    assert done.returncode == 2
    assert "x.json is neither a benchmark.json nor a sets.json" in done.stderr


def test_a_figure_that_comes_twice_is_refused(run):
    done = run("-m", "quality.published", OURS, OURS, check=False)
    assert "holds a figure that another file holds" in done.stderr
