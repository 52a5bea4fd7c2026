"""Face crops as they come out of other hands: smaller, and compressed as video is, for `quality.sets --calibration`."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from common.images import resize
from common.stage import progress
from inference.conditions import Conditions, conditions_of
from inference.networks import Networks
from inference.rows import combine
from inference.scoring import Score
from quality.crops import score_images
from quality.evaluate import Truth
from training.face_tracks import FaceTracks

FORMS = ((1.0, None), (1.0, 28), (0.5, 23), (0.5, 33), (0.25, 28))  # scale, and H.264's crf, None: as it is
TOGETHER = 16  # crops in memory at a time, each in all forms


class Form(NamedTuple):
    """A form of a crop: the crop's path, its truth, the members' score, its conditions."""

    crop: str
    truth: Truth
    score: float
    conditions: Conditions


def forms_of(crop: np.ndarray) -> Iterator[np.ndarray]:
    """The crop, BGR uint8 [h, w, 3], in each of FORMS."""
    for scale, crf in FORMS:
        image = crop if scale == 1 else cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield image if crf is None else compressed(image, crf)


def compressed(image: np.ndarray, crf: int) -> np.ndarray:
    """An image, BGR uint8, after H.264; without an odd last row or column."""
    even = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        stream.pix_fmt, stream.height, stream.width = "yuv420p", even.shape[0], even.shape[1]
        stream.thread_count = 1
        container.mux([*stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")), *stream.encode()])
    file.seek(0)
    with av.open(file, "r") as container:
        return next(container.decode(video=0)).to_ndarray(format="bgr24")


def score_forms(networks: Networks, faces: Path, list_file: Path, truth: Mapping[str, Truth]) -> list[Form]:
    """Score every crop of a list in each form; `truth` by the crop's path."""
    tracks = FaceTracks(faces, list_file)
    places = [(number, at) for number, track in enumerate(tracks) for at in range(track.count)]
    side = max(member.size for member, _ in networks.members.values())
    found = []
    with progress(total=len(places), desc=list_file.stem, unit="crop") as bar:
        for some in (places[start : start + TOGETHER] for start in range(0, len(places), TOGETHER)):
            images = [
                (tracks[number].frame(at), form) for number, at in some for form in forms_of(tracks.read(number, at))
            ]
            scores = together(networks, [image for _, image in images])
            for (path, image), score in zip(images, scores, strict=True):
                seen = conditions_of([resize(image, side)[None]], [max(image.shape[:2])])
                found.append(Form(path, truth[path], score, seen))
            bar.update(len(some))
    return found


def together(networks: Networks, images: Sequence[np.ndarray]) -> list[float]:
    """The members' combined score of each image, by the policy for a branch."""
    members = {name: member for name, (member, _) in networks.members.items()}
    alone = score_images(networks, images)
    final = []
    for at in range(len(images)):
        score = combine(members, {name: Score(values[at], "crop") for name, values in alone.items()}).final.value
        assert score is not None  # each member has one
        final.append(score)
    return final
