"""The calibration of the shipped weights, on faces of several sets as they are and perturbed, and what it is worth.

`shipped.sets --calibration` writes it. Faces of a set that nothing was fitted on tell how far its rates hold; what they
tell goes into the file as sentences, which every page of evidence shows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from inference.verdicts import BY_RATE, LEANS_FAKE_RATE, Calibration
from quality.calibration import CalibrationData, FittedCalibration, fit_calibration
from quality.measures import has_both, measure
from quality.platt import balanced_weights
from shipped.crops import SET_NAMES
from shipped.perturbed import UNCHANGED, PerturbedCrop

ROUNDS = 200  # of the bootstrap of operating points
RATES = tuple(verdict.limit for verdict in BY_RATE[:-1])
GROUPS = "race"  # UTKFace's column of the groups of people

Crops = Sequence[PerturbedCrop]


def calibrate(crops: Mapping[str, Crops], members: Mapping[str, str]) -> FittedCalibration:
    """Fit a calibration on the crops of several sets, every set alike.

    `members` holds the sha256 of each member's checkpoint.
    """
    named = [(name, crop) for name, of_set in crops.items() for crop in of_set]
    labels, scores = np.array([crop.truth.label for _, crop in named]), np.array([crop.score for _, crop in named])
    sets = np.array([name for name, _ in named])
    real = Counter(sets[labels == 0].tolist())
    data = CalibrationData(
        labels=labels,
        scores=scores,
        originals=np.array([f"{name} {crop.truth.original}" for name, crop in named]),
        conditions=[crop.conditions for _, crop in named],
        sources=[crop.crop for _, crop in named],
        platt_weights=balanced_weights(sets, labels),
        rate_weights=np.array([1 / max(real[name], 1) for name in sets.tolist()]),
    )
    return fit_calibration(members, "faces", data, ROUNDS)


def shares_within(calibration: Calibration, crops: Crops) -> dict[str, np.ndarray]:
    """For each version of crops, the shares of real and of fake ones with a rate of at most RATES: float [2, 3]."""
    versions = {crop.version: np.zeros((2, len(RATES))) for crop in crops}
    number = {version: np.zeros((2, 1)) for version in versions}
    for crop in crops:
        rate = calibration.judge(crop.score, crop.conditions).rate
        number[crop.version][crop.truth.label] += 1
        versions[crop.version][crop.truth.label] += [rate is not None and rate <= limit for limit in RATES]
    return {version: count / np.maximum(number[version], 1) for version, count in versions.items()}


def shares_table(shares: Mapping[str, np.ndarray]) -> str:
    """The shares as a Markdown table."""
    rates = ", ".join(f"{100 * rate:g}" for rate in RATES)
    lines = [f"| version | real with a rate of at most {rates}% | fake |", "|---|---|---|"]
    for version, of_version in shares.items():
        cells = [", ".join(f"{100 * share:.2g}" for share in of_label) + "%" for of_label in of_version]
        lines.append(f"| {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_limits(calibration: Calibration, crops: Mapping[str, Crops], held_out: str, unseen: Crops) -> Calibration:
    """The calibration with sentences on what it was fitted on, and how far it holds for unseen crops of another set."""
    aucs = {SET_NAMES[name]: auc_of(of_set) for name, of_set in crops.items()}
    known = {name: auc for name, auc in aucs.items() if auc is not None}
    limits = [f"The rates were counted on single faces from {', '.join(aucs)}, not on whole videos."]
    if len(known) > 1:
        best, worst = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
        limits.append(
            f"Fakes are told from real faces best in {best} (AUC {known[best]:.2f}) and worst in {worst} "
            f"({known[worst]:.2f})."
        )
    if unseen:
        column = RATES.index(LEANS_FAKE_RATE)
        real = {version: float(shares[0, column]) for version, shares in shares_within(calibration, unseen).items()}
        worst = max(real, key=lambda version: real[version])
        limits.append(
            f"Checked on real faces of {SET_NAMES[held_out]}, which were not used for fitting, a stated rate of "
            f"{LEANS_FAKE_RATE:.0%} was in fact {real[UNCHANGED]:.0%} for faces as they are, and {real[worst]:.0%} at "
            f"{worst}."
        )
    limits += [
        group_limit(SET_NAMES[name], of_set)
        for name, of_set in crops.items()
        if any(GROUPS in crop.truth.columns for crop in of_set)
    ]
    return replace(calibration, limits=tuple(limits))


def group_limit(name: str, crops: Crops) -> str:
    """A sentence on how a set's shares of real faces above 0.5, as they are, differ between groups of people."""
    by_group: dict[str, list[bool]] = {}
    for crop in crops:
        if crop.version == UNCHANGED and not crop.truth.label:
            by_group.setdefault(crop.truth.columns[GROUPS], []).append(crop.score > 0.5)
    shares = sorted((float(np.mean(above)), name) for name, above in by_group.items())
    listed = ", ".join(f"{share:.1%} ({name})" for share, name in shares)
    return f"Real faces of some groups of people score high more often: of {name}, these score above 0.5: {listed}."


def auc_of(crops: Crops) -> float | None:
    """The AUC of crops as they are; None if a class is missing."""
    plain = [crop for crop in crops if crop.version == UNCHANGED]
    labels, scores = np.array([crop.truth.label for crop in plain]), np.array([crop.score for crop in plain])
    return measure("auc", labels, scores) if has_both(labels) else None
