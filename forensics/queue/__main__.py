"""Which videos to look at first: the rarest scores, as a page for a reviewer who marks what the videos are.

Reads  a submission's .jsonl; the pages of its evidence (--evidence); earlier marks
Writes <output>/queue.csv   all videos in order, those in the queue first
       <output>/queue.html  the queue as a page that sorts, links to the evidence and shows the marks
       <output>/marks.csv   filename,mark,note,sha256: with --serve, as soon as a mark is made on the page

Videos are ordered by their false-positive rate, then those without a rate by their score. Those without a score come
last. The queue holds the videos under a false-discovery rate: at most this share of them is expected to be real
(Benjamini and Hochberg, 1995, on the calibrated rates). With --hours it holds as many videos as there is time for.

    python -m forensics.queue submission.jsonl --evidence evidence/
    python -m forensics.queue submission.jsonl --hours 8 --serve
"""

import argparse
import math
from contextlib import suppress
from pathlib import Path

from common.command import command_parser, positive, run_script
from common.files import write_table_for_people, write_text
from forensics.queue.marks import Marks, summarise
from forensics.queue.order import Queue, make_queue, read_candidates
from forensics.queue.page import page, serve_queue
from forensics.serve.server import port
from inference.evidence.pages import own_file
from inference.results import utf8_name

COLUMNS = ("place", "filename", "verdict", "label", "false_positive_rate_percent", "in_queue", "discovery", "mark")


def queue_table(queue: Queue, marks: Marks) -> list[tuple[object, ...]]:
    """The rows of queue.csv, below its heading."""
    return [
        (
            place,
            utf8_name(video.filename),
            video.verdict,
            f"{video.label:.4f}",
            "" if video.rate is None else f"{100 * video.rate:.3f}",
            "yes" if place <= queue.length else "",
            "yes" if place <= queue.discoveries else "",
            marks.get(video.filename, video.sha256).mark,
        )
        for place, video in enumerate(queue.videos, start=1)
    ]


def fraction(text: str) -> float:
    """An argparse type: a number above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def above_zero(text: str) -> float:
    """An argparse type: a finite number above 0."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("submission", type=Path, metavar="JSONL")
    parser.add_argument("--fdr", type=fraction, default=0.1, metavar="Q", help="false-discovery rate (default: 0.1)")
    parser.add_argument("--hours", type=above_zero, metavar="H", help="of a reviewer: take as many videos as fit")
    parser.add_argument("--minutes", type=positive, default=5, metavar="MINUTES", help="per video (default: 5)")
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="of the submission: pages to link to")
    parser.add_argument("--output", type=Path, default=Path("queue"), metavar="DIR", help="default: queue")
    parser.add_argument("--serve", action="store_true", help="show the page on this machine and keep the marks")
    parser.add_argument(
        "--port", type=port, default=8001, metavar="N", help="with --serve (default: 8001; 0 takes a free one)"
    )
    return parser.parse_args()


def evidence_links(queue: Queue, evidence: Path | None) -> dict[str, Path]:
    """The pages of evidence of the videos in the queue, by file name, as far as they exist."""
    if evidence is None:
        return {}
    shown = queue.videos[: queue.length]
    paths = {video.filename: own_file(evidence, video.filename, ".html", video.sha256) for video in shown}
    return {name: path for name, path in paths.items() if path.is_file()}


def main() -> int:
    """Order the videos, write the queue, print a summary; with --serve show it until Ctrl-C."""
    options = parse_arguments()
    queue = make_queue(read_candidates(options.submission), options.fdr, options.hours, options.minutes)
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    marks = Marks(folder / "marks.csv")
    links = evidence_links(queue, options.evidence)
    write_table_for_people(folder / "queue.csv", [COLUMNS, *queue_table(queue, marks)])
    write_text(folder / "queue.html", page(queue, marks, links, folder))
    for sentence in summarise(queue, marks):
        print(f"queue: {sentence}")
    rated = sum(video.rate is not None for video in queue.videos)
    print(
        f"queue: {queue.length} of {len(queue.videos)} videos; {queue.discoveries} of {rated} with a rate are under a "
        f"false-discovery rate of {queue.fdr:g}; {folder / 'queue.html'}"
    )
    if options.serve:
        with suppress(KeyboardInterrupt):
            serve_queue(queue, marks, links, options.port)
    return 0


if __name__ == "__main__":
    run_script(main)
