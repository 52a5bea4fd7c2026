"""Videos that come as precropped faces, as DeepfakeBench distributes them, scored by image members.

A crop takes the place of a sampled frame's crop: groups of five, then the reference's policy. A member sees the whole
crop.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from common.errors import BadInputError
from common.files import FileState, file_state
from common.images import read_image, resize
from common.status import Status
from common.version import software
from inference.conclude import combine, group_scores, unscored
from inference.evidence.collect import provenance_of
from inference.ledger import Json
from inference.members import Member, crop_kinds
from inference.networks.runtimes import load_networks
from inference.results import FaceResult, Result
from inference.sampling.sampled import Face
from inference.scoring import GROUP, NOT_FINITE, Ensemble, Score
from inference.settings import Settings, resolve
from quality.sets.items import Item


class CropScorer:
    """Scores items that come as precropped faces; a `quality.score_items.ItemScorer`."""

    def __init__(self, settings: Settings) -> None:
        """Load the members' networks. Raises BadInputError for a video member, and as `resolve` does."""
        self.setup = resolve(settings)
        self.members = self.setup.members
        require_image_members(self.members)
        how = (self.setup.device, settings.precision, self.setup.runtime, settings.workers)
        self.networks = load_networks(self.members, settings.models, *how)

    @property
    def depends_on(self) -> Json:
        """What the scores depend on."""
        return self.setup.depends_on

    @property
    def provenance(self) -> Json:
        """What benchmark.json says of the members."""
        return asdict(provenance_of(self.setup))

    def state(self, item: Item, root: Path) -> FileState:
        """A digest that changes if a crop changes, comes or goes."""
        states = json.dumps([file_state(root / frame) for frame in item.frames])
        return [hashlib.sha256(states.encode()).hexdigest()]

    def score(self, item: Item, root: Path) -> Result:
        """The result of an item by the crops that can be read; notes name the others. Fewer than five give no score."""
        present = [root / frame for frame in item.frames if (root / frame).is_file()]
        images, damaged = read_images(present)
        problems = {"missing": len(item.frames) - len(present), "damaged": len(damaged)}
        notes = [f"{count} of {len(item.frames)} crops are {what}" for what, count in problems.items() if count]
        no_scores: dict[str, float | None] = dict.fromkeys(self.members)
        result = unscored(item.key, Status.MISSING, "none of its crops exists", len(present), no_scores)
        result = replace(result, run=self.setup.digest, software=software(), notes=tuple(notes))
        if not present:
            return result
        if not images:
            return replace(result, status=Status.DECODE_ERROR, reason=damaged[0])
        scores = self.member_scores(images)
        combined = combine(self.members, scores)
        not_finite = ", ".join(name for name, score in scores.items() if score.rule == NOT_FINITE)
        if not_finite:
            result = replace(result, notes=(*result.notes, f"left out {not_finite}: {NOT_FINITE}"))
        if combined.final.value is not None:
            return with_score(result, self.members, scores, combined)
        if not_finite:
            return replace(result, status=Status.NOT_FINITE, reason=f"{not_finite}: {NOT_FINITE}")
        few = f"{len(images)} crops, fewer than {GROUP}"
        return replace(result, status=Status.TOO_FEW_FRAMES, reason=few)

    def member_scores(self, images: Sequence[np.ndarray]) -> Mapping[str, Score]:
        """Each member's score of a video whose faces are RGB uint8 images [h, w, 3], of any size."""
        crops = {
            kind: np.stack([resize(np.ascontiguousarray(image), kind.side) for image in images])
            for kind in crop_kinds(self.members.values())
        }
        (scores,) = self.networks.scores([[Face([], [], crops)]])
        return scores


def require_image_members(members: Mapping[str, Member]) -> None:
    """Raise BadInputError if one of the members sees clips instead of single crops."""
    if others := [name for name, member in members.items() if member.branch != "image"]:
        raise BadInputError(f"{', '.join(others)} need clips; choose image members for crops, by --members")


def read_images(paths: Iterable[Path]) -> tuple[list[np.ndarray], list[str]]:
    """The images that can be read, RGB uint8 [h, w, 3], and what is wrong with the others."""
    images, damaged = [], []
    for path in paths:
        try:
            images.append(read_image(path)[..., ::-1])
        except BadInputError as error:
            damaged.append(str(error))
    return images, damaged


def with_score(
    result: Result, members: Mapping[str, Member], scores: Mapping[str, Score], combined: Ensemble
) -> Result:
    """The result with the score of its only face, by image members."""
    label, rule = combined.final.value, combined.final.rule
    assert label is not None
    values = {name: score.value for name, score in scores.items()}
    face = FaceResult(
        number=1,
        score=label,
        rule=rule,
        decides=True,
        members=values,
        detections=result.frames,
        first=0.0,
        last=0.0,
        groups=group_scores(members, {name: score.parts[0] for name, score in scores.items() if score.parts}),
    )
    return replace(
        result,
        label=label,
        status=Status.OK,
        reason=rule,
        members=values,
        image=label,
        face_frames=result.frames,
        detections=result.frames,
        faces=(face,),
    )
