"""How far self-blended images differ from their face: the ranges that `training.blend` draws from.

They are not in that module because configs read them too, without OpenCV.
"""

from typing import NamedTuple


class Ranges(NamedTuple):
    """How far the changed copy and the mask may differ; lengths are fractions of the face's side.

    `shift`, `scale`: the copy is moved by up to `shift` and stretched by up to `scale`, each way. `elastic`: range of
    the displacement of the mask's outline. `blur`: range of the standard deviation of the mask's edge. `ratios`: the
    copy's share where the mask is full is drawn from these. `poisson`: the chance of Poisson blending (Perez et al.,
    2003) instead of linear blending.
    """

    shift: float = 0.03
    scale: float = 0.05
    elastic: tuple[float, float] = (0.01, 0.06)
    blur: tuple[float, float] = (0.008, 0.05)
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
    poisson: float = 0.05
