"""Decoding and augmenting training samples: one core of ours against the same pipeline in albumentations 2.0.8.

A sample is what a network takes: one crop of the b0 config's augmentation from a PNG or a JPG file of 300 pixels, or a clip of 32
JPG crops of the SlowFast config's. Both sides read the same files with OpenCV on one thread, the floor of both. First as far as
uint8, where our loaders stop, as the training normalises a batch on its device; then as far as normalised floats. Single crops are
bound by the decoder and OpenCV's resizing on both sides; clips gain from one draw and no check a frame.
"Needs" are the samples a second that a GPU takes in if a step of a batch takes as long as --step-ms says.

    pip install -r benchmarks/requirements.txt
    python benchmarks/loader.py [--repeat 5] [--step-ms b0=25 slowfast50=150]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

import albumentations as A
import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from common.images import read_image, write_image  # noqa: E402
from demo.clips import clip  # noqa: E402
from faces.video import read_frames  # noqa: E402
from image_based.config import ImageConfig  # noqa: E402
from image_based.dataset import TrainingCrops  # noqa: E402
from training.config import TrainingConfig, load_config  # noqa: E402
from training.inputs import normalise  # noqa: E402
from video_based.config import VideoConfig  # noqa: E402
from video_based.dataset import TrainingClips  # noqa: E402

SIDE, FRAMES, CLIPS = 300, 128, 6
BATCH = {"image": 16, "video": 4}


def write_crops(root: Path, suffix: str) -> Path:
    """A track of crops of a real face; returns its list."""
    frames = list(islice(read_frames(clip("single_face.mp4")), 60))
    folder = root / "part/video"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, FRAMES + 1):
        crop = cv2.resize(frames[number % len(frames)][60:300, 200:440], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        write_image(folder / f"frame{number}_face1{suffix}", crop)
    path = root / f"list{suffix}.txt"
    path.write_text(f"part/video/frame%d_face1{suffix} 1 1 {FRAMES} 1\n")
    return path


def config_of(kind: type[TrainingConfig], root: Path, tracks: Path) -> TrainingConfig:
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
    """The contract's video augmentation, one draw a clip."""
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
    """The floor of both sides."""
    return cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)


def rate(work: Callable[[int], object], count: int) -> float:
    """Samples a second of `work(0..count-1)`."""
    began = time.perf_counter()
    for number in range(count):
        work(number)
    return count / (time.perf_counter() - began)


def compare(sides: dict[str, Callable[[int], object]], count: int, repeat: int) -> dict[str, float]:
    """Median samples a second of each side, taken in turns."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat + 1):  # the first round warms up
        for name, work in sides.items():
            rates[name].append(rate(work, count))
    return {name: median(values[1:]) for name, values in rates.items()}


def image_sides(root: Path, suffix: str) -> dict[str, Callable[[int], object]]:
    """Floor, ours, theirs, for single crops."""
    config = config_of(ImageConfig, root, write_crops(root, suffix))
    data, normal = TrainingCrops(config), A.Normalize(config.mean, config.std)
    theirs, normalised = albumentations_image(config), albumentations_image(config, normal)
    paths = [root / data.sample_name(number) for number in range(FRAMES)]
    return {
        "decoding": lambda number: read_rgb(paths[number % FRAMES]),
        "ours": lambda number: data[number, number % FRAMES][0],
        "theirs": lambda number: theirs(image=read_rgb(paths[number % FRAMES]))["image"],
        "ours, float": lambda number: normalise(data[number, number % FRAMES][0][None], config),
        "theirs, float": lambda number: normalised(image=read_rgb(paths[number % FRAMES]))["image"],
    }


def clip_sides(root: Path) -> dict[str, Callable[[int], object]]:
    """Floor, ours, theirs, for clips of 32 crops."""
    config = config_of(VideoConfig, root, write_crops(root, ".jpg"))
    data, normal = TrainingClips(config), A.Normalize(config.mean, config.std)
    theirs, normalised = albumentations_clip(config), albumentations_clip(config, normal)
    paths = [root / data.tracks[0].frame(number) for number in range(0, config.sample_duration, config.sample_step)]
    return {
        "decoding": lambda _: [read_rgb(path) for path in paths],
        "ours": lambda number: data[number, 0][0],
        "theirs": lambda _: theirs(images=np.stack([read_rgb(path) for path in paths]))["images"],
        "ours, float": lambda number: normalise(data[number, 0][0][None], config),
        "theirs, float": lambda _: normalised(images=np.stack([read_rgb(path) for path in paths]))["images"].transpose(0, 1),
    }


def row(name: str, rates: dict[str, float]) -> str:
    """A line of the table."""
    cells = "".join(f"{value:>15.1f}" for value in rates.values())
    ratios = [
        rates["ours"] / rates["theirs"],
        rates["ours, float"] / rates["theirs, float"],
        rates["ours"] / rates["theirs, float"],
    ]
    return f"{name:<20}{cells}{''.join(f'{ratio:>8.2f}' for ratio in ratios)}{rates['ours'] / rates['decoding']:>10.0%}"


def needs(words: Sequence[str]) -> list[str]:
    """What a network takes in."""
    lines = []
    for word in words:
        network, _, milliseconds = word.partition("=")
        batch = BATCH["video" if network.startswith("slowfast") else "image"]
        lines.append(f"{network}: a batch of {batch} in {milliseconds} ms takes {1000 * batch / float(milliseconds):.0f} samples/s")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median is taken (default: 5)")
    parser.add_argument("--step-ms", nargs="*", default=[], metavar="NETWORK=MS", help="step times of a GPU")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sides = "".join(f"{name:>15}" for name in ("decoding", "ours", "theirs", "ours, float", "theirs, float"))
        print("Samples/s of one core. Ratios: ours to theirs, both in floats, our loader's work to all of theirs")
        print(f"{'':<20}{sides}{'uint8':>8}{'float':>8}{'loader':>8}{'of floor':>10}")
        for suffix in (".png", ".jpg"):
            print(row(f"crops, {suffix[1:].upper()}", compare(image_sides(root, suffix), 2 * FRAMES, options.repeat)), flush=True)
        print(row("clips of 32, JPG", compare(clip_sides(root), CLIPS, options.repeat)))
    print("\n".join(needs(options.step_ms)))


if __name__ == "__main__":
    main()
