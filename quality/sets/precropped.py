"""Videos of which only face crops are at hand, as DeepfakeBench distributes them, scored by image members.

A crop takes the place of a frame's crop: groups of five, then the contract's policy. All of a crop is seen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BadInputError
from common.files import FileState, file_state
from common.images import read_image, resize
from common.status import Status
from inference.conclude import combine, group_scores, unscored
from inference.evidence.collect import provenance_of
from inference.members import Member, crop_kinds
from inference.networks.runtimes import Networks, load_networks
from inference.results import FaceResult, Result
from inference.sampling.sampled import Face
from inference.scoring import GROUP, NOT_FINITE
from inference.settings import Settings, resolve
from quality.sets.layouts import Item
from quality.sets.one_process import make_results


def score_ready(
    items: Sequence[Item], root: Path, settings: Settings, output: Path
) -> tuple[dict[str, Result], dict[str, Any]]:
    """A result for each item, written to `output` as inference.predict does, and what scored.

    If this is killed, it goes on when it is called again. Raises BadInputError for a video member.
    """
    setup = resolve(settings)
    members = setup.members
    if others := [name for name, member in members.items() if member.branch != "image"]:
        raise BadInputError(f"{', '.join(others)} need clips; ready-made crops are for image members: use --members")
    how = (setup.device, settings.precision, setup.runtime, settings.workers)
    networks = load_networks(members, settings.models, *how)
    by_key = {item.key: item for item in items}
    results = make_results(
        {item.key: state_of_all(root, item.frames) for item in items},
        lambda key: result_of(by_key[key], root, members, networks, setup.digest),
        output,
        setup.depends_on,
    )
    return results, asdict(provenance_of(setup))


def state_of_all(root: Path, frames: Sequence[str]) -> FileState:
    """What tells whether any of the crops changed, came or went."""
    states = json.dumps([file_state(root / frame) for frame in frames])
    return [hashlib.sha256(states.encode()).hexdigest()]


def result_of(item: Item, root: Path, members: Mapping[str, Member], networks: Networks, digest: str) -> Result:
    """The result of an item from the crops that are there; missing ones are named, fewer than five give no score."""
    there = [root / frame for frame in item.frames if (root / frame).is_file()]
    lost = len(item.frames) - len(there)
    notes: tuple[str, ...] = (f"{lost} of {len(item.frames)} crops are missing",) if lost else ()
    values: dict[str, float | None] = dict.fromkeys(members)

    def without_score(status: Status, reason: str) -> Result:
        return replace(unscored(item.key, status, reason, len(there), values), run=digest, notes=notes)

    if not there:
        return without_score(Status.MISSING, "none of its crops is there")
    pictures, damaged = [], []
    for path in there:
        try:
            pictures.append(read_image(path)[..., ::-1])
        except BadInputError as error:
            damaged.append(str(error))
    notes += (f"{len(damaged)} of {len(item.frames)} crops are damaged",) * bool(damaged)
    if not pictures:
        return without_score(Status.DECODE_ERROR, damaged[0])
    kinds = crop_kinds(members.values())
    crops = {kind: np.stack([resize(np.ascontiguousarray(one), kind.side) for one in pictures]) for kind in kinds}
    (scores,) = networks.scores([[Face([], [], crops)]])
    result = combine(members, scores)
    if bad := [name for name, score in scores.items() if score.rule == NOT_FINITE]:
        notes += (f"left out {', '.join(bad)}: {NOT_FINITE}",)
    if result.final.value is None and bad:
        return without_score(Status.NOT_FINITE, f"{', '.join(bad)}: {NOT_FINITE}")
    if result.final.value is None:
        return without_score(Status.TOO_FEW_FRAMES, f"{len(pictures)} crops, fewer than {GROUP}")
    face = {name: score.parts[0] for name, score in scores.items() if score.parts}
    values |= {name: score.value for name, score in scores.items()}
    label, rule = result.final.value, result.final.rule
    only_face = FaceResult(
        number=1,
        score=label,
        rule=rule,
        decides=True,
        members=values,
        detections=len(there),
        first=0.0,
        last=0.0,
        groups=group_scores(members, face),
    )
    return replace(
        without_score(Status.OK, rule),
        label=label,
        image=label,
        face_frames=len(there),
        detections=len(there),
        faces=(only_face,),
    )
