"""Write members as ONNX, so that they score without PyTorch: `inference.predict --runtime onnx`.

Each file lies beside its checkpoint, under the same name. It is checked at once: on the crops of a video and on noise,
the log odds of ONNX Runtime and of PyTorch may differ by TOLERANCE at most, times the size of the largest logit if that
is above 1. A file that fails is removed.

    python -m inference.networks.export                                   all members that have a checkpoint
    python -m inference.networks.export --members b0,sf1 --video clip.mp4
    python -m inference.networks.export --network mine.yaml               a network of your own
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common.command import command_parser, cores, run_script
from common.errors import BadInputError
from inference.members import KNOWN, MODELS, Member, choose_members, crop_kinds
from inference.networks.graph import export
from inference.networks.runtimes import load_networks
from inference.sampling.look import Wanted, sample
from inference.sampling.sampled import Face
from inference.settings import Settings, add_options, detector_weights
from pretrain.clips import clip

TOLERANCE = 1e-4  # of log odds
FRAMES = 40  # sampled of the video


def faces_of(video: Path, members: Iterable[Member]) -> list[Face]:
    """The faces of a video, with the crops that the members see. Raises BadInputError if there are none."""
    (found,) = sample(video, Wanted(Settings(max_frames=FRAMES), crop_kinds(members), detector_weights(), cores()))
    if not found.faces or not all(len(crops) for crops in found.faces[0].crops.values()):
        raise BadInputError(f"{video} has no face, or too few frames, to check with")
    return found.faces


def difference(name: str, member: Member, models: Path, faces: Sequence[Face]) -> float:
    """The largest difference of the log odds by PyTorch and by ONNX Runtime, relative to logits that are above 1.

    float32 has seven digits, so large logits differ more. NaN if a logit is not finite.
    """
    crops = [face.crops[member.crop_kind] for face in faces]
    crops.append(np.random.RandomState(0).randint(0, 256, crops[0].shape, dtype=np.uint8))

    def logits(runtime: str) -> np.ndarray:
        networks = load_networks({name: member}, models, runtime=runtime, threads=cores())
        return np.concatenate(networks.logits(name, crops))

    expected, exported = logits("torch"), logits("onnx")
    size = np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
    return float((np.abs(np.diff(exported, axis=1) - np.diff(expected, axis=1)) / size).max())


def main() -> int:
    """Write and check; return 1 if a member's file differs from PyTorch, else 0."""
    parser = command_parser(__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--members", metavar="A,B", help="default: all that have a checkpoint")
    add_options(parser, ("network",))
    parser.add_argument("--video", type=Path, metavar="FILE", help="to check with (default: a sample clip)")
    options = parser.parse_args()
    names = options.members or (None if options.network else ",".join(KNOWN))
    members, _ = choose_members(names, options.models, options.members is None, options.network)
    faces = faces_of(options.video or clip("single_face.mp4"), members.values())
    failed = 0
    for name, member in members.items():
        output = options.models / member.onnx
        export(member, options.models)
        size, apart = output.stat().st_size / 1e6, difference(name, member, options.models, faces)
        differs = not apart <= TOLERANCE  # as NaN does
        if differs:
            output.unlink()
            failed += 1
        verdict = "FAILED, removed" if differs else "ok"
        print(
            f"inference.networks.export: {name}: {output}, {size:.1f} MB; log odds apart by {apart:.1e}: {verdict}",
            flush=True,
        )
    print(f"export: {len(members) - failed} written, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    run_script(main)
