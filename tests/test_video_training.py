"""Video training: the frames of a clip, one draw per clip, and a real SlowFast-50 training with the command."""

import csv
import subprocess

import cv2
import numpy as np
import pytest
import torch

from common.errors import BadInputError
from common.images import resize_antialiased
from inference.members import MEMBERS
from tests.conftest import ROOT
from tests.tiny import on_two_lists, small_slurm, write_lists
from training.checkpoint import load_weights, read_checkpoint
from training.config import ConfigError, load_config
from training.inputs import normalise
from video_based.config import VideoConfig
from video_based.dataset import TrainingClips, ValidationClips
from video_based.models import build_model
from video_based.transforms import augment, central_begin, clip_frames, random_begin

CONFIG = ROOT / "video_based/configs/config.yaml"
FRAMES = 20


@pytest.fixture
def tracks(tmp_path, frames):
    """Four videos of one track of twenty JPGs each, two real and two fake (the fakes tinted), and their lists."""
    lines = []
    for number in range(4):
        folder = tmp_path / f"faces/part_0/v{number}"
        folder.mkdir(parents=True)
        for frame in range(1, FRAMES + 1):
            crop = frames[frame % 12][60:300, 200:440].copy()
            crop[..., 2] = np.maximum(crop[..., 2], 200 * (number % 2))
            cv2.imwrite(str(folder / f"frame{frame}_face1.jpg"), crop)
        lines.append(f"part_0/v{number}/frame%d_face1.jpg 1 1 {FRAMES} {number % 2}")
    return write_lists(tmp_path, lines)


def overrides(tracks, **more):
    values = {
        "input_size": 48, "val_size": 56, "min_short_side": 48, "max_short_side": 64,
        "sample_duration": 16, "sample_step": 2, "batch_size": 2,
        "lr_scheduler.max_iter": 3, "print_freq": 1, "val_freq": 2,
    }  # fmt: skip
    return on_two_lists(tracks, **values | more)


def config(tracks, **more):
    return load_config(CONFIG, VideoConfig, overrides(tracks, **more))


def test_central_clips(values):
    for case in values["temporal_center"]:
        begin = central_begin(case["n"], case["size"])
        assert (clip_frames(case["n"], case["size"], case["step"], begin) + 1).tolist() == case["out"]


def test_random_clips_begin_anywhere_they_fit():
    random = np.random.default_rng(0)
    assert {random_begin(20, 16, random) for _ in range(200)} == {0, 1, 2, 3, 4}
    assert {random_begin(10, 16, random) for _ in range(20)} == {0}
    assert clip_frames(20, 16, 4, 4).tolist() == [4, 8, 12, 16]


def test_every_frame_of_a_clip_is_augmented_alike(tracks):
    random = np.random.default_rng(0)
    same = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8)] * 5
    clips = [augment(same, config(tracks), random) for _ in range(40)]
    for clip in clips:
        assert (clip.shape, clip.dtype) == ((5, 48, 48, 3), np.uint8)
        assert (clip == clip[:1]).all()
    assert len({clip.tobytes() for clip in clips}) > 30


def test_colour_and_jpeg_belong_to_two_of_the_four_configs(tracks):
    gray = [np.full((64, 64, 3), 128, np.uint8)] * 2
    for enabled in (True, False):
        settings, random = config(tracks, color_and_jpeg=str(enabled).lower()), np.random.default_rng(0)
        assert (len({augment(gray, settings, random).tobytes() for _ in range(20)}) > 1) == enabled


def test_a_clip_depends_on_its_position_alone(tracks):
    data = TrainingClips(config(tracks))
    torch.manual_seed(1)
    clip, label, bad = data[7, 1]
    state = torch.random.get_rng_state()
    assert torch.equal(data[7, 1][0], clip)
    assert not torch.equal(data[8, 1][0], clip)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (clip.shape, label, bad) == ((8, 48, 48, 3), 1, [])


def test_an_unreadable_frame_is_replaced_by_its_neighbour(tracks):
    data = TrainingClips(config(tracks, sample_step=1))
    (tracks / "faces/part_0/v1/frame9_face1.jpg").unlink()
    _, _, bad = data[7, 1]
    assert bad == ["part_0/v1/frame9_face1.jpg"]
    with pytest.raises(BadInputError, match=r"train\.txt:1: none of 11 crops is readable"):
        TrainingClips(config(tracks, train_root=tracks / "nowhere"))[0, 0]


def test_validation_sees_the_central_clip_whole(tracks):
    data = ValidationClips(config(tracks), tracks / "val.txt")
    clip, index = data[3]
    assert (len(data), clip.shape, index, data.video_and_label(3)) == (4, (8, 56, 56, 3), 3, ("part_0/v3", 1))
    crop = cv2.imread(str(tracks / "faces/part_0/v3/frame3_face1.jpg"))  # (20 - 16) // 2 = 2 frames before it
    rgb = resize_antialiased(crop, 56)[..., ::-1].astype(np.float32)
    expected = (rgb - np.array([110.63666788, 103.16065604, 96.29023126])) / np.array(
        [38.7568578, 37.88248729, 40.02898126]
    )
    seen = normalise(clip[None], config(tracks))[0]
    assert seen.shape == (3, 8, 56, 56)
    np.testing.assert_allclose(seen[:, 0].permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_the_first_batch_of_clips_is_drawn(run, tracks):
    sets = [word for override in overrides(tracks) for word in ("--set", override)]
    done = run("-m", "video_based.main", "--config", CONFIG, *sets, "--show-batch", tracks / "batch.png")
    assert "2 samples as rank 0 sees them in step 0" in done.stdout
    picture = cv2.imread(str(tracks / "batch.png"))
    assert picture.shape[1] == 8 * 48 + 7 * 8 + 16  # eight frames of 48 pixels beside each other
    assert len({picture[8:56, 8 + 56 * index : 56 + 56 * index].tobytes() for index in range(8)}) > 1


def test_sides_that_do_not_fit_are_refused(tracks):
    with pytest.raises(ConfigError, match="min_short_side must be at least input_size"):
        config(tracks, input_size=60)


def test_slowfast_trains_validates_writes_and_recovers(run, tracks):
    sets = [word for override in overrides(tracks) for word in ("--set", override)]
    command = (
        "-m",
        "video_based.main",
        "--config",
        CONFIG,
        "--experiments",
        tracks / "runs",
        "--device",
        "cpu",
        "--datetime",
        "now",
    )
    done = run(*command, *sets)
    folder = tracks / "runs/sf50_aug_224_32x4/now"
    assert "done: 3 steps" in done.stdout
    rows = list(csv.DictReader((folder / "ckpt_iter_2_held_out.csv").open()))
    assert [(row["video"], row["label"]) for row in rows] == [(f"part_0/v{n}", str(n % 2)) for n in range(4)]
    content = read_checkpoint(folder / "ckpt_iter_2.pth.tar")
    assert (content["arch"], content["step"]) == ("slowfast50", 2)
    assert MEMBERS["sf1"].arch == content["arch"]
    load_weights(build_model("slowfast50"), content["state_dict"], "the checkpoint")
    resumed = run(*command, *sets, "--set", "lr_scheduler.max_iter=4", "--recover", "--extend")
    assert "steps 3 to 3" in resumed.stdout
    assert (folder / "ckpt_iter_3.pth.tar").is_file()


@pytest.mark.slow
@pytest.mark.slurm
def test_two_tasks_train_on_a_real_slurm(tracks, slurm):
    """The launcher, srun and the trainer of video networks, with gloo."""
    (tracks / "dist").mkdir()
    kept = [word for word in overrides(tracks, reference_world_size=2) if " " not in word]  # TRAIN_ARGS are words
    sets = [word for override in (*kept, f"val_lists.all_videos={tracks / 'val.txt'}") for word in ("--set", override)]
    environment = small_slurm(slurm, 2, *sets, "--experiments", tracks / "runs")
    words = ["sh", "video_based/train.sh", "video_based/configs/config.yaml", "debug", str(tracks / "dist")]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes for the reference's 2" in done.stdout
    assert list(tracks.glob("runs/sf50_aug_224_32x4/*/finished"))
    assert list((tracks / "dist").iterdir()) == []
