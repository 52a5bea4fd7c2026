"""What a score means: rates of real faces that score as high."""

import json

import numpy as np
import pytest

from common.errors import BadInputError
from inference.calibration import Calibration, calibration_of, of_real_faces, rates_of, read_calibration
from inference.members import MODELS, SHIPPED


def test_rates_are_means_over_sets_of_counted_faces():
    scores, rates = rates_of([np.array([0.1, 0.2, 0.9]), np.array([0.05])])
    calibration = Calibration({}, scores, rates)
    assert calibration.rate(0.0) == 1
    assert calibration.rate(0.1) == pytest.approx((1 + 0) / 2)
    assert calibration.rate(0.155) == pytest.approx((2 / 3 + 0) / 2)
    assert calibration.rate(0.9) == pytest.approx((1 / 3 + 0) / 2, abs=1e-6)
    assert calibration.rate(1.0) == 0


@pytest.mark.parametrize(("rate", "words"), [(0.0204, "20 of"), (0.0, "fewer than 1 of"), (1.0, "1000 of")])
def test_a_rate_in_words(rate, words):
    assert of_real_faces(rate) == f"{words} 1,000 real faces score as high"


def test_the_shipped_members_have_theirs():
    calibration = calibration_of(SHIPPED, MODELS, None)
    assert calibration is not None
    assert calibration.rate(0.0) == 1
    assert list(calibration.rates) == sorted(calibration.rates, reverse=True)
    assert calibration.rate(0.5) < 0.1  # the weights were shifted so that real faces stay below .5


def test_it_is_of_certain_checkpoints(tmp_path):
    lite0 = {"lite0": SHIPPED["lite0"]}
    assert calibration_of(lite0, MODELS, None) is None
    with pytest.raises(BadInputError, match="other members: lite0, lite2"):
        calibration_of(lite0, MODELS, MODELS / "calibration.json")
    with pytest.raises(FileNotFoundError):
        calibration_of(lite0, MODELS, tmp_path / "absent.json")


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"members": {}, "scores": [0.1], "rates": [1]}', '{"members": {}, "scores": [0], "rates": []}'],
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(BadInputError, match="is no calibration"):
        read_calibration(path)


def test_it_is_a_file_of_plain_json():
    assert json.loads((MODELS / "calibration.json").read_text()).keys() == {"members", "scores", "rates"}
