"""Stage 6: score videos with the ensemble.

Reads  videos, folders of videos, or a CSV with a column `filename` (--list, looked up in --videos); checkpoints; the detector
Writes submission.csv (`filename,label`, in the order of the input; label = probability of FAKE) and submission.jsonl beside it,
       an object a video: filename, label, status, reason, frames, faces, members, image, video.

Killed at any moment and run again, it goes on: the rows so far are in submission.partial.jsonl until all are done.

status: ok, no_face, too_few_frames, decode_error, missing, unsupported; all but ok have the label .5. The exit status is 1 if a
video could not be read.

    python -m inference.predict clip.mp4 folder/ --members b0 --models inference/submit_models --output submission.csv
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.atomic import write_table, write_text
from common.device import CHOICES, pick_device
from common.errors import BadInputError
from common.layout import is_video, read_filenames
from common.stage import run_script
from faces.crops import cut, plan_crops
from faces.detector import FaceDetector, default_weights
from faces.tracking import track_faces
from faces.video import DecodeError, UnsupportedError, in_batches, probe, read_frames
from inference.ledger import Ledger, state_of
from inference.members import MODELS, Member, choose_members, load_member
from inference.scoring import NO_SCORE, Vote, ensemble, image_frames, image_score, sampling_interval, video_score
from training.inputs import memory_format, resize, to_input

MAX_FACES = 2
BATCH = 8  # frames a detector call, images a network call
Face = dict[int, np.ndarray]  # a face's RGB crops, one per sampled frame, at each size in use: size -> uint8 [N, size, size, 3]
FAILED = ("decode_error", "missing", "unsupported")


@dataclass
class Scorer:
    """The detector and the members, on a device."""

    detector: FaceDetector
    members: dict[str, tuple[Member, nn.Module]]
    device: str

    def score(self, path: Path) -> dict[str, Any]:
        """A video's row of `submission.jsonl`, all but its file name."""
        if not path.is_file():
            return self.row("missing", f"{path} does not exist")
        if not is_video(path):
            return self.row("unsupported", f"{path.suffix or 'no suffix'} is no video format that is read here")
        try:
            frames, faces = self.crops(path)
        except UnsupportedError as error:
            return self.row("unsupported", str(error))
        except (DecodeError, OSError) as error:
            return self.row("decode_error", str(error))
        if not faces:
            return self.row("no_face", "most sampled frames show no face", frames=frames)
        scores = {name: self.member_score(name, faces) for name in self.members}
        votes = {name: Vote(member.branch, member.weight, scores[name]) for name, (member, _) in self.members.items()}
        result = ensemble(votes)
        if result.final.value is None:
            return self.row("too_few_frames", f"{frames} sampled frames", frames, len(faces), scores)
        branches = {"image": result.image.value, "video": result.video.value}
        return self.row("ok", result.final.rule, frames, len(faces), scores, result.final.value) | branches

    def row(
        self,
        status: str,
        reason: str,
        frames: int = 0,
        faces: int = 0,
        scores: dict[str, float | None] | None = None,
        label: float = NO_SCORE,
    ) -> dict[str, Any]:
        """A row; the label is .5 unless given."""
        members = scores or dict.fromkeys(self.members)
        facts = {"label": label, "status": status, "reason": reason, "frames": frames, "faces": faces}
        return facts | {"members": members, "image": None, "video": None}

    def crops(self, path: Path) -> tuple[int, list[Face]]:
        """The number of sampled frames, and the faces.

        The video is decoded twice, once to detect and once to cut, so that no more than a batch of frames is ever held.
        """
        interval = sampling_interval(probe(path).frames)
        detections: list[np.ndarray] = []
        height = width = 0
        for frames in in_batches(read_frames(path, interval), BATCH):
            detections += self.detector.detect(frames)
            height, width = frames[0].shape[:2]
        tracks = track_faces(detections, MAX_FACES).tracks
        squares, crops = plan_crops(tracks, len(detections), width, height)
        sizes = {member.size for member, _ in self.members.values()}
        faces = [{size: np.empty((len(detections), size, size, 3), np.uint8) for size in sizes} for _ in squares]
        for number, frame in enumerate(read_frames(path, interval) if faces else ()):
            for crop in crops.get(number, ()):
                for size, images in faces[crop.face].items():
                    images[crop.frame] = resize(cut(frame, crop.square), size)
        return len(detections), faces

    def member_score(self, name: str, faces: list[Face]) -> float | None:
        """A member's score of the faces; raises BadInputError rather than return a non-finite one."""
        member, network = self.members[name]
        crops = [face[member.size] for face in faces]
        if member.branch == "video":
            score = video_score([self.clip_logits(member, network, images) for images in crops]).value
        else:
            chosen = [images[image_frames(len(images))] for images in crops]
            score = image_score([self.image_logits(member, network, images) for images in chosen], member.squeeze).value
        if score is not None and not np.isfinite(score):
            raise BadInputError(f"member {name} ({member.file}) gives {score}: its checkpoint is unusable")
        return score

    def inputs(self, member: Member, images: np.ndarray) -> Tensor:
        """RGB crops [N, size, size, 3] -> the member's input [N, 3, size, size]."""
        return to_input(torch.from_numpy(images).to(self.device), member.color, *member.normalisation)

    @torch.inference_mode()
    def clip_logits(self, member: Member, network: nn.Module, crops: np.ndarray) -> np.ndarray:
        """A face's crops, all as one clip -> logits [2]."""
        clip = self.inputs(member, crops).transpose(0, 1)[None]
        return network(clip.contiguous(memory_format=memory_format(clip)))[0].float().cpu().numpy()

    @torch.inference_mode()
    def image_logits(self, member: Member, network: nn.Module, crops: np.ndarray) -> np.ndarray:
        """Crops -> logits [N, 2], averaged with those of the mirrored images where the member flips."""
        outputs = [np.empty((0, 2), np.float32)]
        for start in range(0, len(crops), BATCH):
            images = self.inputs(member, crops[start : start + BATCH])
            images = images.contiguous(memory_format=memory_format(images))
            output = network(images)
            if member.flip:
                output = (output + network(images.flip(-1))) / 2
            outputs.append(output.float().cpu().numpy())
        return np.concatenate(outputs)


def find_videos(inputs: list[Path], list_file: Path | None, videos: Path) -> dict[str, Path]:
    """Map file names, as they stand in the submission, to paths, in the order of the input.

    A folder gives its videos in order of their names. Raises BadInputError for two videos of one name, an unsafe name in the
    list, and a list without the column `filename`; FileNotFoundError if nothing is asked for.
    """
    paths: list[tuple[str, Path]] = []
    for entry in inputs:
        if entry.is_dir():
            paths += [(path.name, path) for path in sorted(entry.iterdir()) if is_video(path)]
        else:
            paths.append((entry.name, entry))
    if list_file is not None:
        paths += [(name, videos / name) for name in read_filenames(list_file)]
    repeated = [name for name, count in Counter(name for name, _ in paths).items() if count > 1]
    if repeated:
        raise BadInputError(f"more than one video is called {repeated[0]}; score them apart")
    if not paths:
        raise FileNotFoundError("no video to score: name videos, folders with videos, or a --list")
    return dict(paths)


def write_submission(output: Path, rows: list[dict[str, Any]]) -> None:
    """Write the CSV and the JSON lines beside it, atomically, CSV last."""
    write_text(output.with_suffix(".jsonl"), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_table(output, [("filename", "label"), *((row["filename"], f"{row['label']:.8f}") for row in rows)])


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_OR_FOLDER")
    parser.add_argument("--list", type=Path, metavar="CSV", help="with a column `filename`, such as Kaggle's sample_submission.csv")
    parser.add_argument("--videos", type=Path, default=Path("test_videos"), metavar="DIR", help="where --list's files lie")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"checkpoints (default: {MODELS})")
    parser.add_argument("--members", metavar="A,B", help="default: all eleven")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), metavar="CSV")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector (default: the one in inference/face_detect_ckpt)")
    parser.add_argument("--device", choices=CHOICES, default="auto")
    return parser.parse_args()


def main() -> int:
    """Score every video; 1 if one could not be read."""
    options = parse_arguments()
    videos = find_videos(options.inputs, options.list, options.videos)
    chosen = choose_members(options.members, options.models)
    device = pick_device(options.device)
    weights = options.weights or default_weights()
    files = {name: state_of(options.models / member.file) for name, member in chosen.items()}
    ledger = Ledger(options.output, {"members": files, "weights": state_of(weights), "device": device})
    detector = FaceDetector(weights, device)
    members = {name: (member, load_member(member, options.models, device)) for name, member in chosen.items()}
    scorer = Scorer(detector, members, device)
    rows = []
    try:
        for name, path in tqdm(videos.items(), desc="predict", unit="video"):
            row = ledger.row(name, path)
            if row is None:
                row = {"filename": name} | scorer.score(path)
                ledger.add(path, row)
            rows.append(row)
            if rows[-1]["status"] in FAILED:
                tqdm.write(f"predict: {name}: {rows[-1]['status']}: {rows[-1]['reason']}", file=sys.stderr)
    finally:  # whatever ends the loop, what is scored is not lost
        if rows:
            write_submission(options.output, rows)
    ledger.close()
    statuses = Counter(row["status"] for row in rows)
    print(f"predict: {', '.join(f'{count} {status}' for status, count in statuses.items())}; {options.output}")
    return 1 if any(statuses[status] for status in FAILED) else 0


if __name__ == "__main__":
    run_script(main)
