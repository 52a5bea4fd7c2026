"""Single crops of face tracks: for training augmented, without end; for validation whole, once each."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import BadInputError
from common.images import read_image, resize
from common.landmarks import read_landmarks
from image_based.config import ImageConfig
from image_based.transforms import augment
from training.augment import randomness_of
from training.blend import Blend, self_blend
from training.face_tracks import FaceTracks
from training.loading import TrainingSet, ValidationSet
from training.rebuild import rebuilt_pair
from training.sampler import Part

log = logging.getLogger(__name__)
BLENDING, REBUILDING = 1, 2  # purposes of random numbers, which differ from those of augmentation
REBUILT = 0.8  # the fraction of rebuilds that an autoencoder made, if its faces are at hand


class FaceCrops:
    """All crops that lists name, in order: sample i is one frame of one track."""

    def __init__(self, root: Path, *list_files: Path) -> None:
        self.tracks = FaceTracks(root, *list_files)
        counts = [track.count for track in self.tracks.tracks]
        self.track_of = np.repeat(np.arange(len(counts)), counts)
        self.first_of = np.cumsum([0, *counts])
        ends = self.first_of[np.cumsum([0, *self.tracks.sizes])]
        self.sizes: list[int] = np.diff(ends).tolist()  # crops of each list

    def __len__(self) -> int:
        return len(self.track_of)

    def locate(self, index: int) -> tuple[int, int]:
        """The number of a sample's track, and the number of its frame in that track, both counted from 0."""
        number = int(self.track_of[index])
        return number, index - int(self.first_of[number])

    def name(self, index: int) -> str:
        """The path of a sample's crop, relative to the faces' folder."""
        number, frame = self.locate(index)
        return self.tracks[number].frame(frame)


class TrainingCrops(TrainingSet):
    """Augmented crops RGB uint8 [input_size, input_size, 3] by (position, sample) of the training order.

    Augmentation depends only on the config's seed and the position. The nearest readable crop of its track replaces an
    unreadable one. If there is none, BadInputError ends the training.

    After the crops of `train_list` come those of `blend`: two samples each, the fake made from a real face, and that.
    """

    def __init__(self, config: ImageConfig) -> None:
        """Raises BadInputError for a list that is malformed, or a crop to blend without landmarks or not REAL."""
        self.config = config
        self.crops = FaceCrops(Path(config.train_root), *map(Path, config.train_lists))
        self.blended = BlendedPairs(config) if config.blend_lists else None

    @property
    def parts(self) -> list[Part]:
        """For each list, in order: its number of samples, and its share of the samples that are drawn."""
        sizes = self.crops.sizes + [2 * size for size in (self.blended.crops.sizes if self.blended else ())]
        shares = [*self.config.train_lists.values(), *self.config.blend_lists.values()]
        return list(zip(sizes, shares, strict=True))

    @property
    def labels(self) -> set[int]:
        """The labels that occur (1 FAKE); blends bring both."""
        return {0, 1} if self.blended else self.crops.tracks.labels

    def sample_name(self, index: int) -> str:
        """The path of a sample's crop, relative to the faces' folder."""
        if self.blended and index >= len(self.crops):
            return self.blended.crops.name((index - len(self.crops)) // 2)
        return self.crops.name(index)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]:
        position, index = key
        bad: list[str] = []
        if self.blended and index >= len(self.crops):
            number, real = divmod(index - len(self.crops), 2)
            crop, label = self.blended.sample(number, position, bool(real)), 1 - real
        else:
            number, frame = self.crops.locate(index)
            crop, bad = self.crops.tracks.read_near(number, frame)
            label = self.crops.tracks[number].label
        image = augment(crop, self.config, randomness_of(self.config.seed, position))
        return torch.from_numpy(image), label, bad


class BlendedPairs:
    """Real crops, each turned into a pair: a fake, self-blended or rebuilt, and its real face."""

    def __init__(self, config: ImageConfig) -> None:
        """Raises BadInputError for a crop without landmarks, that is not REAL, or that must be rebuilt but is not."""
        assert config.blend is not None
        self.seed, self.ranges, self.rebuilds = config.seed, config.blend.ranges, config.blend.rebuilds
        self.rebuilt = Path(config.blend.rebuilt) if config.blend.rebuilt and self.rebuilds else None
        self.crops = FaceCrops(Path(config.train_root), *map(Path, config.blend_lists))
        landmarks = read_landmarks(Path(config.blend.landmarks))
        for place, track in zip(self.crops.tracks.places, self.crops.tracks, strict=True):
            if track.label:
                raise BadInputError(f"{place} is FAKE; only real faces are blended")
            names = [track.frame(frame) for frame in range(track.count)]
            absent = [name for name in names if landmarks.get(name) is None]
            if absent:
                raise BadInputError(f"{place}: {config.blend.landmarks} has no landmarks of {absent[0]}")
            missing = [path for path in map(self.rebuilt_path, names) if path and not path.is_file()]
            if missing:
                raise BadInputError(f"{place}: {missing[0]} is missing: run `python -m shipped.autoencoder`")
        self.landmarks = landmarks
        self.latest: tuple[tuple[int, int], Blend] | None = None  # kept, as a pair's two samples follow each other

    def sample(self, number: int, position: int, real: bool) -> np.ndarray:
        """The fake made from crop `number`, or the real face, BGR uint8 [h, w, 3]; both of a pair have one position.

        Raises BadInputError if the crop cannot be read or blended.
        """
        if self.latest is None or self.latest[0] != (number, position):
            self.latest = ((number, position), self.blend(number, position))
        blend = self.latest[1]
        return blend.real if real else blend.fake

    def blend(self, number: int, position: int) -> Blend:
        """The pair made from crop `number` at a position. Raises BadInputError if it cannot be read or blended."""
        name = self.crops.name(number)
        crop, points = self.crops.tracks.read(*self.crops.locate(number)), self.landmarks[name]
        assert points is not None  # as the constructor has checked
        random = randomness_of(self.seed, position, REBUILDING)
        try:
            if random.random() < self.rebuilds:
                path = self.rebuilt_path(name) if random.random() < REBUILT else None
                return rebuilt_pair(crop, points, read_image(path) if path else None, random)
            return self_blend(crop, points, self.ranges, randomness_of(self.seed, position, BLENDING))
        except ValueError as error:
            raise BadInputError(f"{name}: {error}") from error

    def rebuilt_path(self, name: str) -> Path | None:
        """The file of a rebuilt crop; None without a folder of them."""
        return (self.rebuilt / name).with_suffix(".png") if self.rebuilt else None


class ValidationCrops(ValidationSet):
    """Whole crops RGB uint8 [input_size, input_size, 3], with their index. An unreadable one is None, and is logged."""

    def __init__(self, config: ImageConfig, list_file: Path) -> None:
        self.crops = FaceCrops(Path(config.val_root), list_file)
        self.tracks = self.crops.tracks
        self.config = config

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        try:
            image = resize(self.crops.tracks.read(*self.crops.locate(index)), self.config.input_size)
        except BadInputError as error:
            log.warning("%s; validation goes on without it", error)
            return None
        return torch.from_numpy(image), index

    def video_and_label(self, index: int) -> tuple[str, int]:
        """A sample's video, `<part>/<video>`, and its label (1 FAKE)."""
        track = self.crops.tracks[self.crops.locate(index)[0]]
        return track.video, track.label
