"""Decode and augment training samples on one core: our pipeline against the same one in albumentations 2.0.8.

A sample is what a network takes. It is one crop, from a PNG or a JPG file of 300 pixels, with the augmentation of the
b0 config; or a clip of 32 JPG crops, with that of the SlowFast config. Both sides read the same files with OpenCV on
one thread, which is the floor of both.

Functions go from files to a uint8 tensor; both sides do the same work. Loaders are a DataLoader of one process, with
what each side gives to the training: theirs gives floats, normalised and transposed, as is usual; ours gives uint8,
which the training normalises on its device. Decoding and OpenCV's resizing limit single crops on both sides. Clips are
faster with ours because all frames get one draw, without a check per frame.

The last line is of self-blended faces of 224 pixels (training/blend.py), without decoding. Their floor is what no blend
can do without: one warp of the face and one linear blend. The rest of the time goes into the mask, new colours,
sharpness and JPEG. With --step-ms it also prints how many samples per second a GPU takes if a training step lasts that
long.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.loader [--repeat 5] [--step-ms b0=25 slowfast50=150]
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks import parser
from common.files import ROOT
from common.images import read_image, write_image
from faces.video import read_frames
from image_based.config import ImageConfig
from image_based.dataset import TrainingCrops
from pretrain.clips import clip
from training.blend import MEAN_LANDMARKS, self_blend
from training.config import load_config
from training.loading import TrainingSet, collate_training
from training.ranges import Ranges
from video_based.config import VideoConfig
from video_based.dataset import TrainingClips

SIDE, FRAMES = 300, 128  # pixels of a crop, crops of the track
BATCH = {"image": 16, "video": 4}
ROWS = (
    ("crops, PNG", ImageConfig, ".png", 320),
    ("crops, JPG", ImageConfig, ".jpg", 640),
    ("clips of 32, JPG", VideoConfig, ".jpg", 24),
)


def write_crops(root: Path, suffix: str) -> Path:
    """Write a track of crops of a real face; return its list."""
    frames = list(islice(read_frames(clip("single_face.mp4")), 60))
    folder = root / "part/video"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, FRAMES + 1):
        crop = cv2.resize(frames[number % len(frames)][60:300, 200:440], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        write_image(folder / f"frame{number}_face1{suffix}", crop)
    path = root / f"list{suffix}.txt"
    path.write_text(f"part/video/frame%d_face1{suffix} 1 1 {FRAMES} 1\n")
    return path


def config_of(kind: type[ImageConfig] | type[VideoConfig], root: Path, tracks: Path) -> ImageConfig | VideoConfig:
    """The b0 or SlowFast config on these crops."""
    name = "image_based/configs/b0/config.yaml" if kind is ImageConfig else "video_based/configs/config.yaml"
    return load_config(ROOT / name, kind, [f"train_root={root}", f"train_list={tracks}"])


def albumentations_image(config: ImageConfig, *end: A.BasicTransform) -> A.Compose:
    """The contract's image augmentation."""
    size = (config.input_size, config.input_size)
    return A.Compose(
        [
            A.RandomResizedCrop(size, scale=(config.min_scale**2, 1.0), ratio=(1.0, 1.0)),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.1, p=0.5),
            A.ImageCompression(quality_range=(50, 100), p=0.2),
            A.MotionBlur(blur_limit=(3, 7), p=0.5),
            *end,
            A.ToTensorV2(),
        ]
    )


def albumentations_clip(config: VideoConfig, *end: A.BasicTransform) -> A.Compose:
    """The contract's video augmentation, one draw per clip."""
    return A.Compose(
        [
            A.SmallestMaxSize(range(config.min_short_side, config.max_short_side + 1)),
            A.RandomCrop(config.input_size, config.input_size),
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.1, p=0.5),
            A.ImageCompression(quality_range=(50, 100), p=0.2),
            *end,
            A.ToTensorV2(),
        ]
    )


def read_rgb(path: Path) -> np.ndarray:
    """Read a crop as RGB: the floor of both sides."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)


class Theirs(Dataset[tuple[Tensor, int]]):
    """Samples read and augmented by albumentations, as floats: the usual way."""

    def __init__(self, samples: list[list[Path]], transform: A.Compose) -> None:
        self.samples, self.transform = samples, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        crops = [read_rgb(path) for path in self.samples[index]]
        if len(crops) == 1:
            return self.transform(image=crops[0])["image"], 1
        return self.transform(images=np.stack(crops))["images"].transpose(0, 1), 1


class Ours(Dataset[tuple[Tensor, int, list[str]]]):
    """Samples of a training set, in order."""

    def __init__(self, data: TrainingSet, count: int) -> None:
        self.data, self.count = data, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int, list[str]]:
        return self.data[index, index % len(self.data)]


# What one core does: a function of a sample's number in this process, or a data set in a loader process.
Side = Callable[[int], object] | Dataset[Any]


def rate(side: Side, count: int, batch: int) -> float:
    """Samples per second."""
    if not isinstance(side, Dataset):
        began = time.perf_counter()
        for number in range(count):
            side(number)
        return count / (time.perf_counter() - began)
    collate = collate_training if isinstance(side, Ours) else None
    batches = iter(DataLoader(side, batch, num_workers=1, worker_init_fn=one_thread, collate_fn=collate))
    next(batches)
    began = time.perf_counter()
    samples = sum(len(labels) for _, labels, *_ in batches)
    return samples / (time.perf_counter() - began)


def one_thread(_: int) -> None:
    """Initialise a loader process."""
    cv2.setNumThreads(1)


def compare(sides: dict[str, Side], count: int, batch: int, repeat: int) -> dict[str, float]:
    """Median samples per second of each side; the sides take turns."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat + 1):  # the first round warms up
        for name, side in sides.items():
            rates[name].append(rate(side, count, batch))
    return {name: median(values[1:]) for name, values in rates.items()}


def sides_of(kind: type[ImageConfig] | type[VideoConfig], root: Path, suffix: str, count: int) -> dict[str, Side]:
    """The floor; ours and theirs up to uint8 tensors; and both in a loader process, theirs up to floats."""
    config = config_of(kind, root, write_crops(root, suffix))
    normal = A.Normalize(config.mean, config.std)
    ends = ((), (normal,))
    data: TrainingSet
    if isinstance(config, ImageConfig):
        data, transforms = TrainingCrops(config), [albumentations_image(config, *end) for end in ends]
        samples = [[root / data.sample_name(number % FRAMES)] for number in range(count)]
    else:
        clips = TrainingClips(config)
        data, transforms = clips, [albumentations_clip(config, *end) for end in ends]
        frames = range(0, config.sample_duration, config.sample_step)
        samples = [[root / clips.tracks[0].frame(number) for number in frames]] * count
    ours, theirs = Ours(data, count), [Theirs(samples, transform) for transform in transforms]
    return {
        "decoding": lambda number: [read_rgb(path) for path in samples[number]],
        "ours": ours.__getitem__,
        "theirs": theirs[0].__getitem__,
        "our loader": ours,
        "their loader": theirs[1],
    }


def blends(face: np.ndarray, count: int, repeat: int) -> str:
    """A line on self-blended images a second, of a face [224, 224, 3]."""
    landmarks = MEAN_LANDMARKS * 2
    mask, matrix = np.full(face.shape[:2], 0.5, np.float32), np.array([[1.02, 0, -2], [0, 0.98, 2]])
    ranges, random = Ranges(), np.random.default_rng(0)

    def floor(_: int) -> np.ndarray:
        return cv2.blendLinear(cv2.warpAffine(face, matrix, face.shape[1::-1]), face, mask, mask)

    sides: dict[str, Side] = {"floor": floor, "ours": lambda _: self_blend(face, landmarks, ranges, random)}
    rates = compare(sides, count, 1, repeat)
    return f"self-blended faces of 224 px: {rates['ours']:.0f}/s; a warp and a blend alone {rates['floor']:.0f}/s"


def row(name: str, rates: dict[str, float]) -> str:
    """A line of the table."""
    cells = "".join(f"{value:>14.1f}" for value in rates.values())
    ratios = [rates["ours"] / rates["theirs"], rates["our loader"] / rates["their loader"]]
    return f"{name:<20}{cells}{''.join(f'{ratio:>9.2f}' for ratio in ratios)}{rates['ours'] / rates['decoding']:>10.0%}"


def needs(words: Sequence[str]) -> list[str]:
    """How many samples per second each network takes, for words such as `b0=25` (milliseconds per step)."""
    lines = []
    for word in words:
        network, _, milliseconds = word.partition("=")
        batch = BATCH["video" if network.startswith("slowfast") else "image"]
        taken = 1000 * batch / float(milliseconds)
        lines.append(f"{network}: a batch of {batch} in {milliseconds} ms takes {taken:.0f} samples/s")
    return lines


def main() -> None:
    """Print the table."""
    command = parser(__doc__, repeat=5)
    command.add_argument("--step-ms", nargs="*", default=[], metavar="NETWORK=MS", help="step times of a GPU")
    options = command.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = "".join(f"{name:>14}" for name in ("decoding", "ours", "theirs", "our loader", "their loader"))
        print("samples/s of one core; ratios of functions and of loaders; our function over the floor")
        print(f"{'':<20}{names}{'function':>9}{'loader':>9}{'floor':>10}")
        for name, kind, suffix, count in ROWS:
            batch = BATCH["image" if kind is ImageConfig else "video"]
            print(row(name, compare(sides_of(kind, root, suffix, count), count, batch, options.repeat)), flush=True)
    face = cv2.resize(next(read_frames(clip("single_face.mp4")))[60:300, 200:440], (224, 224))
    print(blends(face, 500, options.repeat))
    print("\n".join(needs(options.step_ms)))


if __name__ == "__main__":
    main()
