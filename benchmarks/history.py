"""How often `faces.history` is wrong: false alarms on files encoded once, misses on files made with a known history.

Sequences of frames come from the sample clips and, where they are, from ../shared/clips. They are made small, so that
little is left of how they were encoded, and then encoded with x264 in drawn settings. Files as they are count too.

    python -m benchmarks.history     # 4 minutes of a core; prints the counts behind docs/use/file_history.md
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from PIL import Image

import pretrain.clips
from common.command import command_parser
from faces.history import History, file_history
from faces.jpeg_history import jpeg_history
from faces.video import probe, read_frames
from inference.evidence.history import STILL, UNEVEN

SHARED = Path("../shared/clips")
LONG, LENGTH, SHORT, SMALL, FPS = 300, 150, 90, (480, 320), 30  # frames; pixels of large and of small clips
TICKS = 90000 // FPS  # of a transport stream, per frame
Frames = list[np.ndarray]  # BGR uint8 [H, W, 3]
Finding = Callable[[History], object]
FINDINGS: dict[str, Finding] = {
    "repeats": lambda history: history.repeats_every,
    "earlier key frames": lambda history: history.earlier_key_frames,
    "bars": lambda history: history.bars,
    "still part": lambda history: (history.still_share or 0) >= STILL,
    "joined": lambda history: len(history.encoder_starts) > 1,
    "uneven": lambda history: (history.uneven or 0) >= UNEVEN,
}


@dataclass
class Tally:
    """How often a finding was made, and rightly, among the files that were made for it, by their settings."""

    right: dict[str, list[bool]] = field(default_factory=dict)

    def add(self, setting: str, right: bool) -> None:
        """Count a file."""
        self.right.setdefault(setting, []).append(right)


def sequences() -> Iterator[tuple[str, Frames]]:
    """Name and frames of each sequence: the halves of every clip, whole and, of large clips, their middle."""
    for path in clips():
        whole, middle = [], []
        for frame in islice(read_frames(path), LONG):
            large = max(frame.shape[:2]) > 1000
            whole.append(shrink(frame, SMALL[0] if large else SMALL[1]))
            height, width = frame.shape[:2]
            if large:
                middle.append(shrink(frame[height // 5 : -height // 5, width // 5 : -width // 5], SMALL[0] * 5 // 6))
        for name, frames in (("whole", whole), ("middle", middle)):
            for start in range(0, len(frames) - 90, LENGTH):
                yield f"{path.stem} {name} {start}", frames[start : start + LENGTH]


def clips() -> list[Path]:
    """The sample clips, then those of ../shared."""
    names = [name for name in pretrain.clips.SOURCES if not name.endswith(".jpg")]
    return [*map(pretrain.clips.clip, names), *sorted(SHARED.glob("*/*.mp4"))]


def shrink(frame: np.ndarray, side: int) -> np.ndarray:
    """A frame made smaller, to an even size."""
    scale = side / max(frame.shape[:2])
    height, width = (round(length * scale / 2) * 2 for length in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def encode(
    path: Path, frames: Sequence[np.ndarray], options: dict[str, str], times: Sequence[int] | None = None
) -> Path:
    """Write frames with x264; `times` are in frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", **options})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24").reformat(format="yuv420p")
            picture.pts, picture.time_base = (times or range(len(frames)))[number], Fraction(1, FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def drawn(draw: random.Random, **fixed: object) -> dict[str, str]:
    """Settings as phones, editors and platforms use them."""
    settings = {"crf": draw.choice((18, 23, 28, 33)), "g": draw.choice((15, 30, 60, 250)), "bf": draw.choice((0, 3))}
    return {name: str(value) for name, value in {**settings, **fixed}.items()}


def on_screen(frames: Frames) -> Frames:
    """The frames in a window on a desktop with text."""
    height, width = frames[0].shape[:2]
    desktop = np.full((height + 96, width + 160, 3), 235, np.uint8)
    cv2.rectangle(desktop, (0, 0), (desktop.shape[1], 24), (150, 90, 40), -1)
    for row in range(40, desktop.shape[0], 16):
        cv2.putText(desktop, f"line {row} of a page beside it", (width + 24, row), 0, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    cv2.putText(desktop, "a video player", (8, 17), 0, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    shown = []
    for frame in frames:
        shown.append(desktop.copy())
        shown[-1][32 : 32 + height, 16 : 16 + width] = frame
    return shown


def barred(draw: random.Random, frames: Frames) -> tuple[Frames, tuple[int, int, int, int]]:
    """The frames between black bars, and their heights or widths: top, bottom, left, right."""
    side = 2 * draw.randrange(5, 24)
    bars = (side, side, 0, 0) if draw.random() < 0.5 else (0, 0, side, side)
    return [cv2.copyMakeBorder(frame, *bars, cv2.BORDER_CONSTANT, value=0) for frame in frames], bars


def join(path: Path, parts: Sequence[Path]) -> Path:
    """Join transport streams without encoding them again."""
    with av.open(str(path), "w") as container:
        stream, end = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0])
                packets = [packet for packet in source.demux(video=0) if packet.size]
                shift = end - min(packet.dts or 0 for packet in packets)
                for packet in packets:
                    packet.dts, packet.pts = (packet.dts or 0) + shift, (packet.pts or 0) + shift
                    packet.stream, end = stream, max(end, packet.pts + TICKS)
                    container.mux(packet)
    return path


def history(path: Path) -> History:
    """The history of a file."""
    return file_history(path, probe(path))


def measure(folder: Path, tally: dict[str, Tally], name: str, frames: Frames) -> None:
    """Make the files of a sequence and count what is found in them."""
    draw, file, few = random.Random(name), folder / "made.mp4", frames[:SHORT]
    once = history(encode(file, frames, drawn(draw)))
    for finding, value in FINDINGS.items():
        tally[finding].add("encoded once", not value(once))
    every, settings = draw.choice((2, 5, 6)), drawn(draw)
    repeated = [frame for index, frame in enumerate(frames) for _ in range(1 + (index % (every - 1) == 0))]
    found = history(encode(file, repeated[:LENGTH], settings)).repeats_every
    tally["repeats"].add(f"crf {settings['crf']}", found == every)
    first = draw.choice((12, 15, 30))
    before = list(read_frames(encode(file, frames, drawn(draw, g=first, keyint_min=first, sc_threshold=0, bf=0))))
    for bf in (0, 3):
        found = history(encode(file, before, drawn(draw, g=250, bf=bf))).earlier_key_frames
        right = found is not None and found % first == 0
        tally["earlier key frames"].add(f"{bf} B frames", right)
        tally["earlier key frames"].add(f"{bf} B frames: no wrong distance", found is None or right)
    framed, bars = barred(draw, few)
    seen = history(encode(file, framed, drawn(draw))).bars
    close = seen is not None and np.abs(np.subtract((seen.top, seen.bottom, seen.left, seen.right), bars)).max() <= 2
    tally["bars"].add("made", bool(close))
    settings = drawn(draw)
    still = history(encode(file, on_screen(few), settings))
    tally["still part"].add(f"crf {settings['crf']}", bool(FINDINGS["still part"](still)))
    kept = sorted(draw.sample(range(len(few)), len(few) * 9 // 10))
    uneven = history(encode(file, [few[index] for index in kept], drawn(draw), kept))
    tally["uneven"].add("made", bool(FINDINGS["uneven"](uneven)))
    half = len(few) // 2
    halves = enumerate((few[:half], few[half:]))
    parts = [encode(folder / f"{number}.ts", part, drawn(draw)) for number, part in halves]
    tally["joined"].add("made", history(join(folder / "made.ts", parts)).encoder_starts == [0, half])
    quantiser = draw.choice((20, 26, 32, 38))
    exact = {"qp": str(quantiser), "bf": "0", "x264-params": "ipratio=1"}
    told = history(encode(file, few[:30], exact)).quantiser
    tally["quantiser"].add("made", told is not None and abs(told - quantiser) <= 0.5)
    for frame in frames[:: LENGTH // 2]:
        measure_jpeg(folder / "made.jpg", draw, tally, frame)


def measure_jpeg(file: Path, draw: random.Random, tally: dict[str, Tally], frame: np.ndarray) -> None:
    """Make JPEGs of a frame and count what is found in them."""
    picture = Image.fromarray(frame[..., ::-1])
    first, second = draw.choice((50, 60, 70, 75)), draw.choice((80, 85, 90, 95))
    picture.save(file, quality=second)
    once = jpeg_history(file)
    tally["JPEG quality"].add("made", once is not None and once.quality == second)
    tally["JPEG twice"].add("encoded once", once is not None and once.earlier_quality is None)
    picture.save(file, quality=first)
    Image.open(file).convert("RGB").save(file, quality=second)
    found = jpeg_history(file)
    tally["JPEG twice"].add("weaker", found is not None and abs((found.earlier_quality or 0) - first) <= 2)
    picture.save(file, quality=second)
    Image.open(file).convert("RGB").save(file, quality=first)
    found = jpeg_history(file)
    tally["JPEG twice"].add("stronger: nothing to find", found is not None and found.earlier_quality is None)


def table(tally: dict[str, Tally]) -> Iterator[str]:
    """Rows of the page's table."""
    for finding, counted in tally.items():
        for setting, right in sorted(counted.right.items()):
            yield f"{finding:20} {setting:28} right {sum(right):3} of {len(right)}"


def main() -> None:
    """Make the files, count, print."""
    command_parser(__doc__).parse_args()
    tally = {finding: Tally() for finding in (*FINDINGS, "quantiser", "JPEG quality", "JPEG twice")}
    with TemporaryDirectory() as folder:
        for path in clips():
            as_is = history(path)
            for finding, value in FINDINGS.items():
                tally[finding].add("as they are", not value(as_is))
            print(path.name, as_is, flush=True)
        for name, frames in sequences():
            measure(Path(folder), tally, name, frames)
            print(name, flush=True)
    print(*table(tally), sep="\n")


if __name__ == "__main__":
    main()
