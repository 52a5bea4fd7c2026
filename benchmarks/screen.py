"""Screening against the reference's policy: seconds, core-seconds by step, and scores, on the same files.

Clips of ten seconds are made of each VIDEO at three sizes and with three distances of key frames. Both policies score
them as whole processes of `inference.predict`, in turn, with COPIES names of each file, so that starting counts as
little as in a folder. Beside them stand the seconds of a core by step, in one process, and the floor: decoding the
frames that were looked at and those they refer to, the detector at half size on thirty frames, and the networks.
With --film MINUTES, both also score a film of 1080p: ten seconds, whose packets are written again and again.

With labels (metadata.json beside the videos, as DFDC has them) the areas under the ROC curve are compared too; else
only the scores: their rank correlation and the largest difference.

    python -m benchmarks.screen [VIDEO ...] [--repeat 3] [--film MINUTES] [--scores-only]
"""

import os
import time
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import av
import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks import Spent, parser, run, take_turns
from common.command import positive
from common.files import ROOT
from faces.detector import load_detector
from faces.keyframes import open_key_frames
from faces.video import read_frames
from inference.members import MODELS, SHIPPED, crop_kinds
from inference.networks.runtimes import load_networks
from inference.results import read_results
from inference.sampling.look import Wanted, sample
from inference.settings import Settings, detector_weights
from pretrain.clips import clip
from quality.measures import measure
from quality.score_files import Truth, read_truth

COPIES = 4
SIZES = {"1080p": (1920, 1080), "720p": (1280, 720), "360p": (640, 360)}
DISTANCES = (12, 50, 250)
SECONDS, RATE = 10, 30
POLICIES = {"exact": (), "screened": ("--screen",)}


def encode(path: Path, source: Path, size: tuple[int, int], distance: int) -> None:
    """Write ten seconds of a video, forth and back, as H.264 in MP4 with a key frame every `distance` frames."""
    images = [fitted(image, size) for image in islice(read_frames(source), SECONDS * RATE)]
    options = {"preset": "veryfast", "g": str(distance), "crf": "23"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for image in islice(cycle([*images, *reversed(images)]), SECONDS * RATE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def film(path: Path, piece: Path, minutes: int) -> None:
    """Write the packets of ten seconds again and again, each time later."""
    with av.open(str(piece)) as source, av.open(str(path), "w") as container:
        stream = source.streams.video[0]
        copy = container.add_stream_from_template(stream)
        unit = stream.time_base or Fraction(1)
        length = round(SECONDS / unit)
        packets = [
            (bytes(packet), packet.pts or 0, packet.dts or 0, packet.is_keyframe)
            for packet in source.demux(stream)
            if packet.size
        ]
        for turn in range(minutes * 60 // SECONDS):
            for content, shown, decoded, is_key in packets:
                packet = av.Packet(content)
                packet.pts, packet.dts = shown + turn * length, decoded + turn * length
                packet.time_base, packet.is_keyframe, packet.stream = unit, is_key, copy
                container.mux(packet)


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image in the middle of a grey one of this width and height, as large as fits."""
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    canvas = np.full((size[1], size[0], 3), 128, np.uint8)
    top, left = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def predict(videos: Sequence[Path], words: Sequence[str]) -> tuple[Spent, dict[str, float]]:
    """What a run over videos takes, and the scores of those that have one."""
    with TemporaryDirectory() as folder:
        spent = run("-m", "inference.predict", *videos, "--output", f"{folder}/s.csv", *words)
        return spent, {
            name: result.label
            for name, result in read_results(Path(folder) / "s.jsonl").items()
            if result.status == "ok"
        }


class Steps(NamedTuple):
    """Seconds of a core for one video, by step."""

    decode: float
    detect: float
    crop: float
    networks: float

    def __str__(self) -> str:
        named = ", ".join(f"{name} {seconds:.2f}" for name, seconds in self._asdict().items())
        return f"{sum(self):.2f} s of a core ({named})"


def steps(video: Path, screen: bool, repeat: int) -> Steps:
    """The steps of one video in this process, medians."""
    wanted = Wanted(Settings(screen=screen), crop_kinds(SHIPPED.values()), detector_weights())
    networks = load_networks(SHIPPED, MODELS, runtime="onnx", threads=1)
    rounds = []
    for _ in range(repeat + 1):
        (sampled,) = sample(video, wanted)
        began = time.process_time()
        networks.scores([sampled.faces])
        decode, detect, crop = sampled.seconds.values()
        rounds.append(Steps(decode, detect, crop, time.process_time() - began))
    return Steps._make(median(column) for column in zip(*rounds[1:], strict=True))


def floor(video: Path, screened: Steps, repeat: int) -> float:
    """The least that a screening can take: five frames behind six key frames, half-size detection, the networks."""
    detector, rounds = load_detector(detector_weights(), "cpu"), []
    for _ in range(repeat):
        began, images = time.process_time(), list[np.ndarray]()
        with open_key_frames(video) as reader:
            for key in islice(cycle(reader.keys), 6):
                images += [frame.image for frame in islice(reader.behind(key), 5)]
        for image in images:
            detector.detect([image], 0.5)
        rounds.append(time.process_time() - began)
    return median(rounds) + screened.networks


def compare_speed(name: str, video: Path, copies: int, repeat: int) -> None:
    """Print what one file costs by both policies."""
    with TemporaryDirectory() as folder:
        videos = [Path(folder) / f"{copy}-{video.name}" for copy in range(copies)]
        for link in videos:
            link.symlink_to(video.resolve())
        rounds = take_turns({side: partial(predict, videos, words) for side, words in POLICIES.items()}, repeat)
    walls, cores = (
        {side: median(spent[index] for spent, _ in outcomes) / copies for side, outcomes in rounds.items()}
        for index in (0, 1)
    )
    exact, screened = (steps(video, screen, 1) for screen in (False, True))
    per_hour = " against ".join(f"{3600 / walls[side]:,.0f}" for side in ("screened", "exact"))
    least = floor(video, screened, 2)
    print(f"{name}: {per_hour} videos per hour: {walls['exact'] / walls['screened']:.2f} times", end="; ")
    print(f"cores {cores['exact']:.2f} and {cores['screened']:.2f} s: {cores['exact'] / cores['screened']:.2f} times")
    print(
        f"  exact {exact}\n  screened {screened}: {sum(screened) / least:.2f} times the floor, {least:.2f} s",
        flush=True,
    )


def compare_scores(videos: Sequence[Path]) -> None:
    """Print how the scores of both policies agree."""
    exact, screened = (predict(videos, words)[1] for words in POLICIES.values())
    names = [name for name in exact if name in screened]
    a, b = (np.array([scores[name] for name in names]) for scores in (exact, screened))
    print("\n".join(f"{name:<28}{one:>9.4f}{other:>9.4f}" for name, one, other in zip(names, a, b, strict=True)))
    rank = spearmanr(a, b).statistic if len(names) > 2 else float("nan")
    print(f"{len(names)} videos: rank correlation {rank:.3f}, largest difference {np.abs(a - b).max():.3f}")
    truth: dict[str, Truth] = {}
    for file in {video.parent / "metadata.json" for video in videos if (video.parent / "metadata.json").is_file()}:
        truth |= read_truth(file)
    known = [index for index, name in enumerate(names) if name in truth]
    labels = np.array([truth[names[index]].label for index in known])
    if len(set(labels)) == 2:
        areas = [measure("auc", labels, scores[known]) for scores in (a, b)]
        print(f"AUC of {len(known)} labelled videos: exact {areas[0]:.3f}, screened {areas[1]:.3f}")


def main() -> None:
    """Measure and print."""
    command = parser(__doc__, repeat=3)
    command.add_argument("videos", type=Path, nargs="*", metavar="VIDEO", help="default: sample clips")
    command.add_argument("--film", type=positive, metavar="MINUTES", help="also a film of 1080p")
    command.add_argument("--scores-only", action="store_true", help="compare the scores, and no seconds")
    options = command.parse_args()
    os.chdir(ROOT)
    videos = options.videos or [clip(name) for name in ("WolfgangLanger_Pexels.mp4", "single_face.mp4")]
    compare_scores(videos)
    if options.scores_only:
        return
    with TemporaryDirectory() as folder:
        for size, pixels in SIZES.items():
            for distance in DISTANCES:
                path = Path(folder) / f"{size}-{distance}.mp4"
                encode(path, videos[0], pixels, distance)
                compare_speed(f"{size}, key frames every {distance}", path, COPIES, options.repeat)
        if options.film:
            path = Path(folder) / "film.mp4"
            film(path, Path(folder) / "1080p-250.mp4", options.film)
            for side in reversed(POLICIES):
                spent, _ = predict([path], POLICIES[side])
                print(f"{options.film} minutes of 1080p, {side}: {spent.wall:.1f} s, {spent.cores:.1f} s of cores")


if __name__ == "__main__":
    main()
