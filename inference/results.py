"""What `Scorer` returns of a video or a picture."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import BadInputError
from common.status import Status
from inference.evidence.pages import Document
from inference.rows import FaceRow, Row
from inference.sampling.sampled import Sampled


@dataclass(frozen=True)
class FaceResult(FaceRow):
    """A tracked face, with the times in seconds and the boxes (x1, y1, x2, y2) in pixels of its detections."""

    times: tuple[float, ...] = ()
    boxes: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True)
class Result:
    """What a video or a picture was found to be.

    Scores are probabilities of FAKE in [0, 1]. The label is .5 unless the status is ok. `false_positive_rate` is the
    share of reals like this one that score as high or higher (inference.calibration); None if it is not known.
    """

    path: Path
    row: Row
    faces: tuple[FaceResult, ...]  # the one seen longest first
    document: Document | None  # JSON and page of the evidence

    @property
    def filename(self) -> str:
        """The name under which it was scored."""
        return self.row.filename

    @property
    def label(self) -> float:
        """The probability that a face was swapped."""
        return self.row.label

    @property
    def verdict(self) -> str:
        """What the label is called, such as `likely fake` (inference.verdicts)."""
        return self.row.verdict

    @property
    def false_positive_rate(self) -> float | None:
        """The least false-positive rate at which it would be called fake."""
        return self.row.false_positive_rate

    @property
    def status(self) -> Status:
        """Whether it was scored, or why not."""
        return self.row.status

    @property
    def reason(self) -> str:
        """The rule that made the label, or what went wrong."""
        return self.row.reason

    def to_json(self) -> dict[str, Any]:
        """The row of `submission.jsonl`, with each face's times and boxes."""
        return self.row.to_json() | {"each_face": [asdict(face) for face in self.faces]}

    def page(self) -> str:
        """The page of its evidence, as HTML. Raises BadInputError if no evidence was made."""
        return self._made().page

    def save_evidence(self, folder: Path | str) -> None:
        """Write the JSON and the page of its evidence. Raises BadInputError if no evidence was made."""
        self._made().write(Path(folder), self.filename)

    def _made(self) -> Document:
        if self.document is None:
            raise BadInputError(f"{self.filename} was scored without evidence")
        return self.document


def face_results(row: Row, sampled: Sampled) -> tuple[FaceResult, ...]:
    """The faces of a row, with times and boxes."""
    times = sampled.timing.times
    return tuple(
        FaceResult(
            **asdict(known),
            times=tuple(round(times[seen.frame], 3) for seen in face.track),
            boxes=tuple(seen.box for seen in face.track),
        )
        for known, face in zip(row.each_face, sampled.faces, strict=True)
    )
