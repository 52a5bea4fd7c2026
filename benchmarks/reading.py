"""What it costs to know how many frames a video shows, to track faces, and to find shots.

Three questions:

- A pass over the packets before decoding, against decoding. The pass reads every byte once, which is its floor;
  decoding is what the video costs anyway. `probe` also opens the file twice and decodes a frame, which is most of what
  it takes. All on one thread, alternating, medians of five.
- Tracking 60 faces that change their place every fifth frame, so that tracks pile up. The floor is one comparison for
  each of a track's candidates; what matters is that twice the frames take twice the time, and not four times.
- Finding shots, against decoding alone.

    python -m benchmarks.reading [VIDEO ...]
"""

from functools import partial
from pathlib import Path
from statistics import median

import av
import numpy as np

from benchmarks import seconds
from common.command import command_parser
from faces.shots import find_shots
from faces.tracking import track_faces
from faces.video import Reading, probe
from pretrain.clips import clip

ROUNDS = 5
TRACKED = (500, 1000, 2000, 4000)  # frames


def measure(video: Path) -> list[float]:
    """Median seconds of decoding a video, of a pass over its packets, of `probe`, and of decoding it for shots."""
    info = probe(video)

    def read_packets() -> None:
        for _ in container.demux(container.streams[info.stream]):
            pass

    def decode() -> None:
        for _ in Reading(video, info):
            pass

    rounds = []
    for _ in range(ROUNDS):
        with av.open(str(video)) as container:
            row = [seconds(decode), seconds(read_packets)]
        row += [seconds(lambda: probe(video)), seconds(lambda: find_shots(Reading(video, info)))]
        rounds.append(row)
    return [median(row[index] for row in rounds) for index in range(4)]


def restless_faces(frames: int) -> list[np.ndarray]:
    """Detections [60, 5] for each frame: 60 faces of 40 pixels that change their place every fifth frame."""
    random = np.random.default_rng(0)
    detections = []
    for frame in range(frames):
        if frame % 5 == 0:
            corners = random.uniform(0, 1800, (60, 2))
        detections.append(np.concatenate([corners, corners + 40, np.full((60, 1), 0.95)], axis=1).astype(np.float32))
    return detections


def main() -> None:
    """Measure and print."""
    parser = command_parser(__doc__)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO", help="default: a sample clip of 472 frames")
    options = parser.parse_args()
    print(f"{'video':<24}{'decoding':>10}{'packets':>10}{'probe':>10}{'shots':>10}")
    for video in options.videos or [clip("WolfgangLanger_Pexels.mp4")]:
        decoding, *others = measure(video)
        shares = "".join(f"{taken / decoding:>10.1%}" for taken in others)
        print(f"{video.name:<24}{decoding:>8.3f} s{shares}")
    for frames in TRACKED:
        taken = seconds(partial(track_faces, restless_faces(frames)))
        print(f"tracking {frames:>5} frames: {taken:>6.2f} s, {1000 * taken / frames:.2f} ms per frame")


if __name__ == "__main__":
    main()
