"""`inference.networks.export`: members as ONNX, over the bytes of their checkpoints."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from common.command import cores
from common.errors import BadInputError, CheckpointError
from inference.members import KNOWN, MEMBERS, MODELS, SHIPPED
from inference.networks.graph import export
from inference.networks.runtimes import load_networks
from inference.networks.slowfast_2d import ByFrames
from inference.networks.torch_networks import load_member
from inference.settings import choose_runtime
from tests.test_networks import build, lively


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Checkpoints of two small networks with lively weights, as trainings write them: channels last."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("b0", "res34"):
        network = lively(KNOWN[name].arch).to(memory_format=torch.channels_last)
        torch.save({"step": 1, "arch": KNOWN[name].arch, "state_dict": network.state_dict()}, folder / KNOWN[name].file)
    return folder


@pytest.fixture(scope="module")
def exported(models, clip, weights):
    """The same, exported by the command."""
    import inference.networks.export

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["export", "--models", str(models)])
        assert inference.networks.export.main() == 0
    return models


@pytest.mark.parametrize("name", ["b0", "res34"])
def test_the_file_stands_alone(exported, name):
    member = KNOWN[name]
    graph = onnx.load(exported / member.onnx, load_external_data=False).graph
    assert not any(tensor.external_data for tensor in graph.initializer)
    assert 0.9 < (exported / member.onnx).stat().st_size / (exported / member.file).stat().st_size < 1.05


def test_weights_that_half_precision_holds_take_two_bytes():
    for member in SHIPPED.values():
        graph = onnx.load(MODELS / member.onnx, load_external_data=False).graph
        assert not any(tensor.external_data for tensor in graph.initializer)
        sizes = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 0}
        for tensor in graph.initializer:
            if tensor.data_type in sizes:
                sizes[tensor.data_type] += len(tensor.raw_data)
        assert sizes[onnx.TensorProto.FLOAT] < 0.01 * sizes[onnx.TensorProto.FLOAT16]


@pytest.mark.parametrize("name", ["b0", "res34"])
def test_log_odds_are_pytorchs(exported, name):
    """On other input than the command checks with, of other numbers of crops."""
    member = {name: KNOWN[name]}
    noise = np.random.RandomState(1).randint(0, 256, (7, KNOWN[name].size, KNOWN[name].size, 3), np.uint8)
    crops = (noise * np.linspace(0.1, 1, 7)[:, None, None, None]).astype(np.uint8)
    one, other = (
        np.diff(load_networks(member, exported, runtime=runtime, threads=cores()).logits(name, [crops])[0])
        for runtime in ("torch", "onnx")
    )
    np.testing.assert_allclose(one, other, atol=1e-4, rtol=3e-6)
    assert np.ptp(one) > 3e-4  # crops differ


def test_the_shipped_files_are_of_the_shipped_checkpoints():
    networks = {runtime: load_networks(SHIPPED, MODELS, runtime=runtime) for runtime in ("torch", "onnx")}
    for name, member in SHIPPED.items():
        crops = np.random.RandomState(2).randint(0, 256, (5, member.size, member.size, 3), np.uint8)
        one, other = (np.diff(of.logits(name, [crops])[0]) for of in networks.values())
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_another_checkpoint_is_refused(exported, tmp_path):
    """Its scores would be those of the first."""
    shutil.copytree(exported, tmp_path / "m")
    (tmp_path / "m" / KNOWN["b0"].file).write_bytes((exported / KNOWN["res34"].file).read_bytes())
    with pytest.raises(CheckpointError, match="was made from another b0_rgb_58000"):
        load_networks({"b0": KNOWN["b0"]}, tmp_path / "m", runtime="onnx")


@pytest.mark.slow
def test_a_checkpoint_of_old_pytorch_can_be_exported(models, tmp_path):
    member = KNOWN["b0"]
    content = torch.load(models / member.file, weights_only=True)
    torch.save(content, tmp_path / member.file, _use_new_zipfile_serialization=False)
    export(member, tmp_path)
    assert (tmp_path / member.onnx).stat().st_size > 15e6
    crops = np.zeros((2, 299, 299, 3), np.uint8)
    logits = [
        load_networks({"b0": member}, tmp_path, runtime=runtime).logits("b0", [crops])[0]
        for runtime in ("torch", "onnx")
    ]
    np.testing.assert_allclose(*logits, atol=1e-4)


def test_a_file_that_differs_is_removed(models, run, monkeypatch, tmp_path):
    shutil.copy(models / KNOWN["res34"].file, tmp_path)
    monkeypatch.setattr("inference.networks.export.export", lambda member, models: (models / member.onnx).touch())
    monkeypatch.setattr("inference.networks.export.difference", lambda *_: float("nan"))
    done = run("-m", "inference.networks.export", "--models", tmp_path, "--members", "res34", check=False)
    assert done.returncode == 1
    assert "FAILED, removed" in done.stdout
    assert not (tmp_path / KNOWN["res34"].onnx).exists()


@pytest.mark.slow
def test_log_odds_of_large_logits_are_compared_relative_to_these(models, tmp_path, run):
    """float32 has seven digits: two logits of 10,000 differ by a multiple of 0.001 in either runtime."""
    member = KNOWN["res34"]
    content = torch.load(models / member.file, weights_only=True)
    content["state_dict"]["fc.bias"] += 10_000
    torch.save(content, tmp_path / member.file)
    done = run("-m", "inference.networks.export", "--models", tmp_path, "--members", "res34")
    assert "1 written, 0 failed" in done.stdout


@pytest.mark.parametrize("load", [load_member, export])
def test_a_checkpoint_of_another_architecture_is_named_in_one_short_line(tmp_path, load):
    torch.save({"arch": "mobilenetv3_small_050", "state_dict": {"conv_stem.weight": torch.zeros(8, 3, 3, 3)}},
               tmp_path / KNOWN["b0"].file)  # fmt: skip
    with pytest.raises(CheckpointError) as caught:
        load(KNOWN["b0"], tmp_path)
    file = tmp_path / "b0_rgb_58000.pth.tar"
    assert str(caught.value) == (
        f"{file} does not fit EfficientNet: it holds mobilenetv3_small_050, not efficientnet-b0"
    )


@pytest.mark.parametrize("frames", [1, 4, 9, 38])
def test_slowfast_by_frames_is_slowfast(frames):
    network = lively("slowfast50")
    images = torch.randn(frames, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images.transpose(0, 1)[None])
        assert torch.allclose(ByFrames(network).eval()(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_every_network(tmp_path, run, weights, film):
    """One member of each network, SlowFast included; of random weights."""
    members = list({member.arch: name for name, member in MEMBERS.items()}.values())
    for number, name in enumerate(members):
        torch.manual_seed(number)
        member = MEMBERS[name]
        network = build(member.arch)
        torch.save({"step": 1, "arch": member.arch, "state_dict": network.state_dict()}, tmp_path / member.file)
    words = ("--models", tmp_path, "--members", ",".join(members))
    assert f"{len(members)} written, 0 failed" in run("-m", "inference.networks.export", *words).stdout
    rows = {}
    for runtime in ("torch", "onnx"):
        output = tmp_path / f"{runtime}.csv"
        run("-m", "inference.predict", film, *words, "--runtime", runtime, "--output", output)
        rows[runtime] = json.loads(output.with_suffix(".jsonl").read_text())
    assert rows["torch"]["members"].keys() == set(members)
    for name, score in rows["torch"]["members"].items():
        assert not lone_shortcuts(tmp_path / MEMBERS[name].onnx)
        assert rows["onnx"]["members"][name] == pytest.approx(score, abs=1e-4)


def lone_shortcuts(path: Path) -> list[str]:
    """The additions of two layers that ONNX Runtime does not do within a convolution."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_name("optimized.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
    source = {name: node for node in graph.node for name in node.output}

    def is_layer(name: str) -> bool:
        while name in source and source[name].op_type in ("Reshape", "ReorderOutput"):
            name = source[name].input[0]
        return name in source and source[name].op_type in ("Conv", "Relu")

    return [node.name for node in graph.node if node.op_type == "Add" and all(map(is_layer, node.input))]


def test_the_choice_of_a_runtime(exported, models):
    shipped = SHIPPED
    assert choose_runtime("auto", shipped, MODELS) == "onnx"
    assert choose_runtime("auto", shipped, MODELS, "cuda") == "torch"
    assert choose_runtime("auto", shipped, MODELS, "cpu", "bf16") == "torch"
    assert choose_runtime("auto", {"b1": KNOWN["b1"]}, exported) == "torch"
    with pytest.raises(BadInputError, match=r"no ONNX file for b1 in .*inference\.networks\.export"):
        choose_runtime("onnx", {"b1": KNOWN["b1"]}, exported)
    with pytest.raises(BadInputError, match="not on cuda at fp32"):
        choose_runtime("onnx", shipped, MODELS, "cuda")
