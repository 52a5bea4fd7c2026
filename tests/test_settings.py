"""An option of scoring is written once: command line, digest, evidence and `Scorer` follow from its field."""

import argparse
import dataclasses
from dataclasses import dataclass

import pytest

from inference.settings import Settings, Setup, add_options, option, options_of


@dataclass(frozen=True)
class WithTwoMore(Settings):
    """Settings with two more options."""

    least_score: int = option(3, "a new option that rows depend on", "N", rows=True, recorded="least", formerly="least")
    loud: bool = option(False, "a new option that rows do not depend on")


def parsed(kind, *words):
    parser = argparse.ArgumentParser()
    add_options(parser, kind=kind)
    return kind.of(parser.parse_args(words)), parser.format_help()


def setup(settings):
    return Setup(settings, {}, (), settings.models / "detector.pth", "cpu", "onnx")


def test_a_new_option_is_one_field():
    settings, text = parsed(WithTwoMore, "--least-score", "5", "--loud")
    assert (settings.least_score, settings.loud) == (5, True)
    assert "--least-score N" in text
    assert "a new option that rows depend on (default: 3)" in " ".join(text.split())
    assert setup(settings).depends_on["least_score"] == 5
    assert "loud" not in setup(settings).depends_on
    assert setup(settings).digest != setup(dataclasses.replace(settings, least_score=4)).digest
    assert setup(settings).digest == setup(dataclasses.replace(settings, loud=False)).digest
    recorded = settings.values("recorded")
    assert recorded["least"] == 5
    assert WithTwoMore.recorded_in(recorded).least_score == 5
    assert WithTwoMore().changed(least_score=7, loud=True) == dataclasses.replace(
        WithTwoMore(), least_score=7, loud=True
    )


def test_a_former_name_works_and_is_hidden():
    settings, text = parsed(WithTwoMore, "--least", "6", "--faces", "4", "--decide-by", "3", "--by-shots")
    assert (settings.least_score, settings.max_faces, settings.decision_faces, settings.shots) == (6, 4, 3, True)
    for former in ("--least ", "--faces", "--decide-by", "--by-shots"):
        assert former not in text
    assert WithTwoMore().changed(least=8).least_score == 8


def test_every_option_says_what_it_is():
    for name, one in options_of(Settings).items():
        assert one.metadata["help"], name
        assert one.metadata["formerly"] != name


def test_wrong_values_are_refused():
    with pytest.raises(SystemExit):
        parsed(Settings, "--max-faces", "0")
    with pytest.raises(SystemExit):
        parsed(Settings, "--precision", "fp4")
