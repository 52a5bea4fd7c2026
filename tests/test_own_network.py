"""`--network FILE.yaml`: the page docs/use/your_own_network.md, followed, and what is refused."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from torch import nn

from common.errors import BadInputError, CheckpointError
from common.images import write_image
from image_based.models import ARCHS
from inference import Scorer
from inference.members import MEMBERS, SHIPPED, choose_members
from inference.networks.runtimes import load_networks
from inference.own_network import read_network
from inference.settings import Settings, choose_runtime, resolve
from inference.verdicts import BANDS
from tests.conftest import ROOT
from tests.pages import blocks, commands
from tests.strange import encode
from tests.test_networks import lively

PAGE = "docs/use/your_own_network.md"
(DESCRIPTION,) = blocks(PAGE, "yaml")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Lively weights of the page's network, in the published format."""
    path = tmp_path_factory.mktemp("checkpoint") / "ckpt_best.pth.tar"
    arch = yaml.safe_load(DESCRIPTION)["arch"]
    torch.save({"step": 1, "arch": arch, "state_dict": lively(arch).state_dict()}, path)
    return path


@pytest.fixture
def yaml_file(checkpoint, tmp_path, monkeypatch):
    """The page's file beside its checkpoint, in the folder where the commands run."""
    shutil.copy(checkpoint, tmp_path)
    (tmp_path / "mine.yaml").write_text(DESCRIPTION)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.yaml"


def changed(yaml_file, old, new):
    """Change the file; return its path."""
    text = yaml_file.read_text()
    assert text.count(old) == 1
    yaml_file.write_text(text.replace(old, new))
    return yaml_file


def row_of(output):
    return json.loads(output.with_suffix(".jsonl").read_text())


@pytest.fixture
def clip_mp4(yaml_file, frames):
    """The page's clip: five frames of a real one."""
    return encode(yaml_file.with_name("clip.mp4"), frames[:5])


def test_the_page_does_what_it_says(run, yaml_file, clip_mp4, weights):
    alone, both, verified = [run(*words) for words in commands(PAGE)[:3]]
    folder = yaml_file.parent

    assert "predict: scoring with mine of mine.yaml, by PyTorch" in alone.stdout
    assert BANDS in alone.stdout
    row = row_of(folder / "submission.csv")
    assert row["status"] == "ok"
    assert row["members"] == {"mine": row["label"]}
    assert row["judgement"] is None
    facts = json.loads((folder / "evidence/clip.mp4.json").read_text())["provenance"]["members"]["mine"]
    assert facts["config"] == "mine.yaml"
    assert (facts["pixels"], facts["crop_fraction"]) == (128, 0.65)

    assert f"with lite0, lite2 of {ROOT}/inference/submit_models, mine of mine.yaml" in both.stdout
    together = row_of(folder / "both.csv")
    assert together["members"].keys() == {"lite0", "lite2", "mine"}
    assert together["members"]["mine"] == pytest.approx(row["label"], abs=1e-6)
    assert together["label"] == pytest.approx(sum(together["members"].values()) / 3)

    assert verified.stdout.endswith("verify: clip.mp4: identical\n")
    changed(yaml_file, "color: rgb ", "color: bgr ")
    now = run(*commands(PAGE)[2], check=False)
    assert now.returncode == 1
    assert "verify: changed: provenance.members.mine.config_sha256" in now.stdout


def small(num_classes):
    """A network that is exported in seconds."""
    layers = (nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8, num_classes))


def test_the_page_exports_it(run, yaml_file, clip_mp4, weights, monkeypatch):
    """With a network of one convolution, because a whole one takes half a minute."""
    monkeypatch.setitem(ARCHS, "small", small)
    torch.manual_seed(0)
    torch.save(small(2).state_dict(), yaml_file.with_name("ckpt_best.pth.tar"))
    changed(yaml_file, "efficientnet-lite0", "small")
    export, by_onnx = commands(PAGE)[3:]
    run(*by_onnx[:-4], "--output", "torch.csv")
    assert "1 written, 0 failed" in run(*export).stdout
    assert "scoring with mine of mine.yaml, by ONNX Runtime" in run(*by_onnx).stdout
    label = row_of(yaml_file.with_name("torch.csv"))["label"]
    assert row_of(yaml_file.with_name("onnx.csv"))["label"] == pytest.approx(label, abs=1e-5)
    changed(yaml_file, "color: rgb ", "color: bgr ")
    stale = run(*by_onnx, check=False)
    assert stale.returncode == 2
    assert "ckpt_best.onnx was made for 128 px, rgb, mean (0.485, 0.456, 0.406)" in stale.stderr


def test_it_scores_as_the_member_with_the_same_row_does(yaml_file, frames, weights):
    """lite0, described in a file; then with another value in each key on which its scores depend."""
    write_image(still := yaml_file.with_name("still.png"), frames[0])
    member = SHIPPED["lite0"]
    mean, std = (list(values) for values in member.normalisation)
    content = {
        "checkpoint": str(ROOT / "inference/submit_models" / member.file), "arch": member.arch, "size": member.size,
        "color": member.color, "mean": mean, "std": std, "crop_fraction": member.crop_fraction, "flip": member.flip,
    }  # fmt: skip

    def score_by(**settings):
        with Scorer(runtime="torch", workers=0, evidence=False, **settings) as scorer:
            return scorer.score(still).label

    def score(**values):
        yaml_file.write_text(yaml.safe_dump(content | values))
        return score_by(network=yaml_file)

    expected = score_by(members="lite0")
    assert score() == pytest.approx(expected, abs=1e-6)
    others = {"size": 160, "color": "bgr", "mean": [0.5] * 3, "std": [0.5] * 3, "crop_fraction": 1.0, "flip": False}
    for key, value in others.items():
        assert abs(score(**{key: value}) - expected) > 1e-4, key


@pytest.mark.parametrize("name", ["sf1", "xcp", "b0"])
def test_every_key_is_a_members(yaml_file, name):
    """A file with a member's values gives its row, but for the files and the vote."""
    member = MEMBERS[name]
    mean, std = (list(values) for values in member.normalisation)
    keys = {key: getattr(member, key) for key in ("branch", "arch", "size", "color", "crop_fraction", "flip")}
    yaml_file.write_text(yaml.safe_dump({"checkpoint": "ckpt_best.pth.tar", "mean": mean, "std": std} | keys))
    described = read_network(yaml_file)["mine"]
    assert described == replace(member, file=described.file, trained_by=str(yaml_file), weight=1)
    assert described.file == str(yaml_file.with_name("ckpt_best.pth.tar"))


COMMANDS = ("inference.predict", "inference.verify", "forensics.serve", "forensics.compare", "quality.benchmark",
            "quality.robustness", "quality.evaluate", "inference.networks.export")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_it(run, command):
    assert "--network FILE" in run("-m", command, "--help").stdout


def test_rows_depend_on_the_file_and_on_the_checkpoint(yaml_file, weights):
    digests = [resolve(Settings(network=yaml_file)).digest for _ in range(2)]
    assert digests[0] == digests[1]
    changed(yaml_file, "flip: true ", "flip: false ")
    digests.append(resolve(Settings(network=yaml_file)).digest)
    (yaml_file.parent / "ckpt_best.pth.tar").touch()
    digests.append(resolve(Settings(network=yaml_file)).digest)
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "color:",
            "colour:",
            "unknown key 'colour', the nearest known one is 'color'; known are checkpoint, arch, size",
        ),
        ("arch: efficientnet-lite0", "", "missing arch"),
        ("size: 128", "size: big", "size: 'big'"),
        ("color: rgb ", "color: red ", "color: 'red': Input should be 'rgb' or 'bgr'"),
        ("[0.229, 0.224, 0.225]", "[0.229, 0.0, 0.225]", "std.1: 0.0: Input should be greater than 0"),
        ("crop_fraction: 0.65", "crop_fraction: 1.5", "crop_fraction: 1.5"),
        ("branch: image", "branch: video", "flip: only image networks"),
        ("arch: efficientnet-lite0", "arch: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_a_wrong_file_is_refused(yaml_file, old, new, complaint):
    with pytest.raises(BadInputError, match=re.escape(complaint)):
        read_network(changed(yaml_file, old, new))


def test_a_name_that_is_taken_is_refused(yaml_file):
    with pytest.raises(BadInputError, match="'lite0' is taken"):
        read_network(yaml_file.rename(yaml_file.with_name("lite0.yaml")))


def test_a_missing_checkpoint_is_named(yaml_file):
    (yaml_file.parent / "ckpt_best.pth.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"mine.yaml: its checkpoint /.*/ckpt_best.pth.tar is missing"):
        read_network(yaml_file)


class Code:
    """What a pickle runs when it is loaded."""

    def __reduce__(self):
        return (open, ("ran", "w"))


def test_a_checkpoint_that_would_run_code_is_refused(yaml_file):
    torch.save({"state_dict": Code()}, yaml_file.parent / "ckpt_best.pth.tar")
    with pytest.raises(CheckpointError, match=r"ckpt_best.pth.tar is not a readable checkpoint: Weights only load"):
        load_networks(read_network(yaml_file), ROOT)
    assert not (yaml_file.parent / "ran").exists()


def test_an_unknown_arch_lists_the_known_ones(yaml_file):
    with pytest.raises(BadInputError, match="unknown arch 'efficientnet-l9'; known are efficientnet-b0, "):
        load_networks(read_network(changed(yaml_file, "-lite0", "-l9")), ROOT)


def test_without_pytorch_and_onnx_file_it_says_what_is_missing(yaml_file, monkeypatch):
    monkeypatch.setattr("inference.settings.find_spec", lambda _: None)
    members = choose_members(None, ROOT, network=yaml_file).members
    assert list(members) == ["mine"]
    with pytest.raises(BadInputError, match=f"not installed, and there is no ONNX file for mine in {yaml_file.parent}"):
        choose_runtime("auto", members, ROOT)
    (yaml_file.parent / "ckpt_best.onnx").touch()
    assert choose_runtime("auto", members, ROOT) == "onnx"


def test_members_beside_it_are_those_that_are_named(yaml_file):
    assert list(choose_members("lite2", ROOT / "inference/submit_models", network=yaml_file).members) == [
        "lite2",
        "mine",
    ]
    with pytest.raises(BadInputError, match=r"unknown members other; known are sf1, .*, mine"):
        choose_members("other", ROOT, network=yaml_file)


def test_its_calibration_is_accepted(run, yaml_file, weights):
    """What quality.evaluate fits on its rows belongs to its checkpoint."""
    names = [f"{number}.mp4" for number in range(240)]
    row = {"status": "ok", "reason": "", "frames": 9, "faces": 1, "members": {"mine": 0.1}, "image": 0.1, "run": "a"}
    conditions = {"face_pixels": 99.0, "sharpness": 0.01, "light": 0.5, "bits_per_pixel": 0.1}
    rows = [
        row | {"filename": name, "label": (number % 120) / 240 + number // 120 / 2, "video": None, "seconds": {},
               "conditions": conditions}
        for number, name in enumerate(names)
    ]  # fmt: skip
    (yaml_file.parent / "s.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    (yaml_file.parent / "s.csv").write_text(
        "filename,label\n" + "".join(f"{entry['filename']},{entry['label']}\n" for entry in rows)
    )
    truth = "".join(f"{name},{'FAKE' if number >= 120 else 'REAL'}\n" for number, name in enumerate(names))
    (yaml_file.parent / "truth.csv").write_text("filename,label\n" + truth)
    words = ("-m", "quality.evaluate", "s.csv", "truth.csv", "--fit", "c.json", "--rounds", "2")
    refused = run(*words, check=False)
    assert (refused.returncode, "unknown members mine" in refused.stderr) == (2, True)
    assert "predict --calibration takes it for mine" in run(*words, "--network", yaml_file).stdout
    calibration = resolve(Settings(network=yaml_file, calibration=yaml_file.parent / "c.json")).calibration
    assert list(calibration.members) == ["mine"]
