"""Checkpoints and starting weights in every published format: loaded strictly, written back with published names."""

import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from common.errors import CheckpointError
from tests.test_networks import build
from training.checkpoint import load_pretrained, load_weights, read_checkpoint, read_weights, save_checkpoint
from training.distributed import process_group

ARCHS = {
    "b0": "efficientnet-b0", "b1": "efficientnet-b1", "b3": "efficientnet-b3", "r34": "resnet34", "xcp": "xception",
    "sf": "slowfast50",
}  # fmt: skip
LAST = {"b0": "_fc", "b1": "_fc", "b3": "_fc", "r34": "fc", "xcp": "model.fc", "sf": "fc"}


@pytest.fixture(scope="module")
def group():
    """A process group with one process, as in a training."""
    with process_group("cpu") as world:
        yield world


def weights_of(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) if not name.endswith("num_batches_tracked") else torch.tensor(7)
        for name, shape in shapes.items()
    }


def content_of(state, **more):
    return {"step": 58000, "arch": "a", "state_dict": state, "best_loss": 0.25, "optimizer": {"state": {}}} | more


def assert_loaded(model, weights):
    state = model.state_dict()
    assert len(state) == len(weights)
    for (name, value), (given, expected) in zip(state.items(), weights.items(), strict=True):
        assert name.endswith(given)
        assert torch.equal(value, expected)


@pytest.mark.parametrize("network", ARCHS)
def test_published_names_in_both_directions(published, group, tmp_path, network):
    prefix, shapes = published[network]["prefix"], published[network]["shapes"]
    weights = weights_of(shapes)
    path = tmp_path / "ckpt_iter_58000.pth.tar"
    torch.save(content_of({prefix + name: value for name, value in weights.items()}), path)
    model = build(ARCHS[network])
    load_weights(model, read_weights(path), str(path))
    assert_loaded(model, weights)
    # Back: what a training writes is what was published, in its order.
    written = DistributedDataParallel(model).state_dict()
    save_checkpoint(tmp_path / "ckpt_iter_1.pth.tar", content_of(written), best=True)
    again = read_checkpoint(tmp_path / "ckpt_best.pth.tar")["state_dict"]
    assert list(again) == [prefix + name for name in shapes]
    assert all(torch.equal(again[prefix + name], value) for name, value in weights.items())


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_any_prefix_loads(published, prefix):
    weights = weights_of(published["xcp"]["shapes"])
    model = build("xception")
    load_weights(model, {prefix + name: value for name, value in weights.items()}, "a test")
    assert_loaded(model, weights)


def test_torch_1_1_file_saved_on_a_gpu_with_numpy_numbers(published, tmp_path, monkeypatch):
    """As the reference wrote it: the old serialisation, tensors tagged cuda:0, best_loss a number of numpy."""
    weights = weights_of(published["r34"]["shapes"])
    content = content_of(
        {f"module.{name}": value for name, value in weights.items()}, best_loss=np.float64(0.3), step=np.int64(7)
    )
    path = tmp_path / "old.pth.tar"
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    torch.save(content, path, _use_new_zipfile_serialization=False)
    monkeypatch.undo()
    assert b"cuda:0" in path.read_bytes()
    model = build("resnet34")
    read = read_checkpoint(path)
    load_weights(model, read["state_dict"], str(path))
    assert_loaded(model, weights)
    assert (read["best_loss"], read["step"]) == (0.3, 7)


def test_numpy_1_numbers_load_too(tmp_path):
    """numpy 1 pickled its scalars under numpy.core, numpy 2 under numpy._core."""
    path = tmp_path / "x.pth.tar"
    torch.save(content_of({}, best_loss=np.float32(0.5)), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_checkpoint(path)["best_loss"] == 0.5


def test_every_mismatch_is_listed_in_one_error():
    state = build("efficientnet-b0").state_dict()
    del state["_conv_head.weight"]
    state["extra.weight"] = torch.zeros(1)
    state["_bn0.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        load_weights(build("efficientnet-b0"), state, "a.pth")
    for part in ("a.pth", "missing _conv_head.weight", "unexpected extra.weight", "_bn0.bias is (3,), not (32,)"):
        assert part in str(error.value)


def pretrained_content(network, shapes):
    """A starting-weights file as it was published: names, shapes, nesting."""
    classes = 400 if network == "sf" else 1000
    shapes = {
        name: [classes, *shape[1:]] if name.split(".")[0] in ("_fc", "fc") else shape for name, shape in shapes.items()
    }
    weights = weights_of(shapes)
    if network == "sf":
        return weights, content_of({f"module.{name}": value for name, value in weights.items()}, arch="slowfast50")
    if network == "r34":  # from before batch counters
        return weights, {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    if network == "xcp":
        return weights, {
            name: value[:, :, 0, 0] if name.endswith("pointwise.weight") else value for name, value in weights.items()
        }
    return weights, weights


@pytest.mark.parametrize("network", ARCHS)
def test_starting_weights_load_except_for_the_last_layer(published, tmp_path, capsys, network):
    weights, content = pretrained_content(network, published[network]["shapes"])
    torch.save(content, tmp_path / "published.pth")
    model = build(ARCHS[network])
    fresh = {name: value.clone() for name, value in model.state_dict().items() if name.startswith(LAST[network])}
    load_pretrained(model, tmp_path / "published.pth", LAST[network])
    for name, value in model.state_dict().items():
        if name in fresh:
            assert torch.equal(value, fresh[name])
        elif not name.endswith("num_batches_tracked"):
            assert torch.equal(value, weights[name.removeprefix("model.")])
    output = capsys.readouterr().out
    assert output.count("starts at random") == 2
    assert "published.pth" in output


def test_a_last_layer_of_another_size_is_tolerated_only_when_starting():
    thousand = build("resnet34", num_classes=1000).state_dict()
    with pytest.raises(CheckpointError, match=r"fc\.weight is \(1000, 512\), not \(2, 512\)"):
        load_weights(build("resnet34"), thousand, "imagenet.pth")
    broken = {name: value for name, value in thousand.items() if name != "layer4.2.conv2.weight"}
    with pytest.raises(CheckpointError, match=r"missing layer4\.2\.conv2\.weight"):
        load_weights(build("resnet34"), broken, "imagenet.pth", fresh="fc")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "b0.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"b0\.pth is not a readable checkpoint"):
        read_weights(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_weights(tmp_path / "absent.pth")


@pytest.mark.parametrize("old", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, old):
    path = tmp_path / "b0.pth"
    torch.save(content_of({"a": torch.randn(3000)}), path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_weights(path)


@pytest.mark.parametrize("state", [None, [1], {"a": 1}])
def test_a_wrong_state_dict_is_refused(tmp_path, state):
    torch.save({"state_dict": state}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="not a map of names to tensors"):
        read_weights(tmp_path / "x.pth")


def test_pickled_code_is_not_run(tmp_path, capsys):
    class Harm:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"state_dict": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        read_weights(tmp_path / "harm.pth")
    assert "code ran" not in capsys.readouterr().out
