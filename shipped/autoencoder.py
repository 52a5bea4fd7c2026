"""Train a small autoencoder on real face crops, and rebuild each crop once, for `blend.rebuilt` (training/rebuild.py).

Reads  lists of real crops (default: all <lists>/*_blend.txt), the table of their landmarks, the faces
Writes <output>/autoencoder.pth    the network, its optimizer, its step; it is not shipped
       <output>/<crop>.png         the upright face of each crop, 96 to 160 px, rebuilt

One encoder serves four decoders that enlarge in different ways (nearest, bilinear, transposed convolution, pixel
shuffle), because each leaves traces of its own. Decoder and size of a crop depend on its name. Stop it at any moment
and run it again: it goes on. To begin anew, remove <output>.

    python -m shipped.autoencoder [--steps 2000]
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.command import positive, run_script
from common.errors import BadInputError
from common.files import atomic_file, is_written, sync_all_in
from common.images import encode_image, read_image
from common.landmarks import LANDMARKS, read_landmarks
from common.stage import folder_parser
from common.torch_files import load_dict
from common.workers import progress
from faces.video import in_batches
from training.augment import randomness_of
from training.checkpoint import save_checkpoint
from training.face_tracks import FaceTracks
from training.rebuild import SIDES, shrink

SIDE, BATCH, RATE = 96, 8, 1e-3  # pixels and crops in training, learning rate
DIVISOR = 4  # of a side: the encoder halves it twice
SAVED_EVERY = 200  # steps
KINDS = ("nearest", "bilinear", "transposed", "shuffled")
Crop = tuple[str, np.ndarray]  # path below the faces, landmarks [5, 2]


class Autoencoder(nn.Module):
    """Images [B, 3, S, S] in [0, 1] -> the same through S / 4, by one of four decoders.

    What passes is the shrunk image and 8 channels, from which a decoder learns the detail that the image lacks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 8, 1)),
        )
        self.decoders = nn.ModuleDict({kind: decoder(kind) for kind in KINDS})

    def forward(self, images: Tensor, kind: str) -> Tensor:
        small = F.avg_pool2d(images, DIVISOR)
        detail: Tensor = self.decoders[kind](torch.cat([small, self.encoder(images)], dim=1))
        return F.interpolate(small, scale_factor=DIVISOR, mode="bilinear") + detail


def decoder(kind: str) -> nn.Sequential:
    """Features [B, 3 + 8, S / 4, S / 4] -> images [B, 3, S, S], enlarged in one of KINDS."""
    layers: list[nn.Module] = [nn.Conv2d(3 + 8, 64, 3, 1, 1), nn.ReLU()]
    for before, after in ((64, 32), (32, 16)):
        layers += [*enlarging(kind, before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 3, 3, 1, 1))


def enlarging(kind: str, before: int, after: int) -> list[nn.Module]:
    """Layers that double the sides of features and change the number of channels, in one of KINDS."""
    if kind == "transposed":
        return [nn.ConvTranspose2d(before, after, 4, 2, 1)]
    if kind == "shuffled":
        return [nn.Conv2d(before, 4 * after, 3, 1, 1), nn.PixelShuffle(2)]
    return [nn.Upsample(scale_factor=2, mode=kind), nn.Conv2d(before, after, 3, 1, 1)]


def read_crops(faces: Path, lists: Sequence[Path], table: Path) -> list[Crop]:
    """The crops of lists with their landmarks. Raises BadInputError for one without, or one that is not REAL."""
    tracks, landmarks = FaceTracks(faces, *lists), read_landmarks(table)
    crops = []
    for place, track in zip(tracks.places, tracks, strict=True):
        for name in map(track.frame, range(track.count)):
            points = landmarks.get(name)
            if track.label or points is None:
                raise BadInputError(f"{place} is {'FAKE' if track.label else f'without landmarks in {table}'}")
            crops.append((name, points))
    return crops


def train(network: Autoencoder, faces: Path, crops: Sequence[Crop], steps: int, path: Path) -> None:
    """Train to the last of `steps`, from the step that `path` holds on; save there every SAVED_EVERY steps."""
    optimizer, start = torch.optim.Adam(network.parameters(), RATE), 0
    if path.is_file():
        content = load_dict(path)
        network.load_state_dict(content["state_dict"])
        optimizer.load_state_dict(content["optimizer"])
        start = content["step"]
    with progress(total=steps - start, desc="autoencoder", unit="step") as bar:
        for step in range(start, steps):
            random = randomness_of(0, step)
            chosen = [crops[number] for number in random.integers(len(crops), size=BATCH).tolist()]
            images = as_tensor([shrink(read_image(faces / name), points, SIDE) for name, points in chosen])
            loss = F.l1_loss(network(images, KINDS[step % len(KINDS)]), images)
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / steps)
            optimizer.step()
            if (step + 1) % SAVED_EVERY == 0 or step + 1 == steps:
                content = {"step": step + 1, "state_dict": network.state_dict(), "optimizer": optimizer.state_dict()}
                save_checkpoint(path, content, best=False)
                print(f"step {step + 1}: mean error {255 * loss.item():.2f} levels", flush=True)
            bar.update()


def as_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """BGR uint8 [S, S, 3] -> float32 [B, 3, S, S] in [0, 1]."""
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255


@torch.inference_mode()
def rebuild(network: Autoencoder, faces: Path, crop: Crop) -> np.ndarray:
    """The upright face of a crop, rebuilt: BGR uint8 [side, side, 3]."""
    name, points = crop
    random = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()))
    side = DIVISOR * int(random.integers(SIDES[0] // DIVISOR, SIDES[1] // DIVISOR + 1))
    image = as_tensor([shrink(read_image(faces / name), points, side)])
    levels = network(image, KINDS[int(random.integers(len(KINDS)))])[0].movedim(0, -1) * 255
    return cv2.convertScaleAbs(levels.clamp(0, 255).numpy())


def rebuild_all(network: Autoencoder, faces: Path, crops: Sequence[Crop], output: Path) -> int:
    """Write each crop rebuilt that is not on disk yet; return how many these are."""
    missing = [(crop, path) for crop in crops if not is_written(path := (output / crop[0]).with_suffix(".png"))]
    with progress(total=len(missing), desc="rebuilding", unit="crop") as bar:
        for batch in in_batches(missing, BATCH):
            for crop, path in batch:
                with atomic_file(path, synced=False) as temporary:
                    temporary.write_bytes(encode_image(rebuild(network, faces, crop), ".png"))
                bar.update()
    if missing:
        sync_all_in(output)
    return len(missing)


def main() -> int:
    """Train, rebuild, say how much it is."""
    parser = folder_parser(__doc__, faces="DFDC-Kaggle_Alignedface", lists="DFDC-Kaggle_list", output="rebuilt")
    parser.add_argument("--steps", type=positive, default=2000, metavar="N", help="of 8 crops (default: 2000)")
    options = parser.parse_args()
    lists = sorted(options.lists.glob("*_blend.txt"))
    if not lists:
        raise BadInputError(f"{options.lists} holds no list *_blend.txt: run make_crop_lists.py first")
    crops = read_crops(options.faces, lists, options.lists / LANDMARKS)
    torch.manual_seed(0)
    network = Autoencoder()
    train(network, options.faces, crops, options.steps, options.output / "autoencoder.pth")
    written = rebuild_all(network.eval(), options.faces, crops, options.output)
    size = sum((options.output / name).with_suffix(".png").stat().st_size for name, _ in crops)
    print(f"autoencoder: {written} of {len(crops)} crops rebuilt, {size / 1e6:.0f} MB in all; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
