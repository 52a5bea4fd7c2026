"""Score a video again and say whether its evidence still holds, number by number, and what has changed since.

Reads  the evidence of a video as inference.predict --evidence wrote it (JSON, page, verify.json), or as one ZIP file
       of inference.bundle; the video; the checkpoints; the signature of verify.json, if one lies beside it
Writes nothing; it prints what it finds

First the files are checked: a JSON or page that was changed is named. Then the video is scored again with the settings
that the evidence holds. `identical` means that every number and every box is the same. That is to be expected on the
same kind of machine with the same lock file. On another machine, scores within TOLERANCE of each other and boxes within
a pixel count as the same. The exit status is 1 if a file was changed, a signature is wrong, the video is another file,
or a number differs by more.

    python -m inference.verify evidence/ clip.mp4
    ssh-keygen -Y sign -f ~/.ssh/id_ed25519 -n evidence evidence/clip.mp4.verify.json      # sign evidence that you made
    python -m inference.verify evidence/ clip.mp4 --signers allowed_signers --identity me@example.org
"""

import argparse
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import sha256
from common.version import NAME, software
from inference.evidence.bundle import UNCHECKED, unpacked
from inference.evidence.differences import TOLERANCE, Difference, differences, split
from inference.evidence.files import find_evidence, signature_file, tampered
from inference.evidence.pages import DIGESTS, evidence_json, read_object
from inference.members import KNOWN
from inference.scorer import Scorer
from inference.settings import Settings, add_options

NAMESPACE = "evidence"  # of signatures by ssh-keygen
SHOWN = 5  # numbers that differ


def signature(signed: Path, signers: Path | None, identity: str | None) -> tuple[bool, str]:
    """Whether the signature beside a file is right or absent, and what is known about it, in words.

    Raises BadInputError if a signer is asked for and there is no signature, or if there is no ssh-keygen.
    """
    file = signature_file(signed)
    if not file.is_file():
        if signers:
            raise BadInputError(f"{file} is missing: {signed.name} is not signed")
        return True, "not signed"
    how = ["check-novalidate"] if signers is None else ["verify", "-f", str(signers), "-I", str(identity)]
    command = ["ssh-keygen", "-Y", *how, "-n", NAMESPACE, "-s", str(file)]
    try:
        done = subprocess.run(command, input=signed.read_bytes(), capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BadInputError(f"{file}: no ssh-keygen to check it with (Debian: openssh-client)") from error
    if done.returncode:
        message = (done.stderr or done.stdout).decode(errors="replace").strip()
        return False, f"{file} is not a valid signature of it: {message}"
    if signers is None:
        return True, "signed; the signer was not checked (use --signers and --identity)"
    return True, f"signed by {identity}"


def settings_of(
    evidence: Mapping[str, Any], models: Path, calibration: Path | None, network: Path | None = None
) -> Settings:
    """The settings that made the evidence. Raises BadInputError if it does not hold them."""
    try:
        made = evidence["provenance"]
        detector = Path(made["detector"]["weights"])
        recorded = Settings.recorded_in(made["settings"])
        return recorded.changed(
            models=models,
            calibration=calibration,
            members=",".join(made["members"]),
            network=network or own_network_of(made["members"]),
            detector_weights=detector if detector.is_file() else None,
            runtime=made["runtime"],
            device="cpu" if made["device"] == "cpu" else "auto",
            precision=made["precision"],
            evidence=True,
        )
    except (KeyError, TypeError) as error:
        raise BadInputError(f"the evidence does not say how it was made: {error!r}") from error


def own_network_of(members: Mapping[str, Any]) -> Path | None:
    """The file of the network of one's own among the members of the evidence; None if there is none."""
    return next((Path(files["config"]) for name, files in members.items() if name not in KNOWN), None)


def describe(names: list[Difference], numbers: list[Difference]) -> list[str]:
    """What differs, in sentences: what the numbers come from and what they are called, and the numbers themselves."""
    sentences = [f"changed: {difference}" for difference in names]
    furthest = sorted(numbers, key=lambda difference: -difference.distance)[:SHOWN]
    if furthest:
        counted = f"{len(numbers)} numbers differ" if len(numbers) > 1 else "1 number differs"
        sentences.append(f"{counted}; the furthest: {'; '.join(map(str, furthest))}")
    return sentences


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE", help="its folder, its ZIP file, or the video's JSON")
    parser.add_argument("video", type=Path, metavar="VIDEO")
    add_options(parser, ("models", "network", "calibration"))
    parser.add_argument(
        "--signers", type=Path, metavar="FILE", help="public keys by name (ssh-keygen: ALLOWED SIGNERS)"
    )
    parser.add_argument("--identity", metavar="NAME", help="who should have signed; with --signers")
    return parser.parse_args()


def main() -> int:
    """Check the files, score again, compare; return 1 if the evidence does not hold."""
    options = parse_arguments()
    if (options.signers is None) != (options.identity is None):
        raise BadInputError("--signers and --identity belong together")
    if options.evidence.suffix == ".zip":
        with unpacked(options.evidence) as files:
            return int(not holds(files, options.evidence, options))
    files = find_evidence(options.evidence, options.video)
    return int(not holds(files, files[DIGESTS], options))


def holds(files: Mapping[str, Path], shown: Path, options: argparse.Namespace) -> bool:
    """Whether the evidence in these files holds; prints what was found. `shown` is what it calls the signed file."""
    promised, before = read_object(files[DIGESTS]), read_object(files[".json"])
    changed = tampered(files, before, promised)
    is_signed_right, signed = signature(files[DIGESTS], options.signers, options.identity)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    say(f"{now}, {NAME}, version {software()}")
    if options.video.is_file():
        say(f"{options.video}: SHA-256 {sha256(options.video)}")
    say(f"{shown}: {signed}", *(changed or ["the JSON and the page are as they were written"]))
    if unchecked := [name for suffix, name in UNCHECKED.items() if suffix in files]:
        say(f"not checked, because there is no digest of it: the {' and the '.join(unchecked)}")
    with Scorer(settings_of(before, options.models, options.calibration, options.network)) as scorer:
        after = evidence_json(scorer.score(options.video, before["filename"]))
    names, numbers = split(differences(before, after))
    say(*describe(names, numbers))
    is_same_file = before["input"]["sha256"] == after["input"]["sha256"]
    if not is_same_file:
        say("this is not the file that was scored")
    is_close = all(difference.distance <= difference.allowed for difference in numbers)
    everything = is_close and is_signed_right and not changed and is_same_file
    same = "identical" if not numbers else f"the same within {TOLERANCE:g}"
    say(f"{options.video.name}: {same if everything else 'DOES NOT HOLD'}")
    return everything


def say(*sentences: str) -> None:
    """Print sentences, a line each."""
    for sentence in sentences:
        print(f"verify: {sentence}")


if __name__ == "__main__":
    run_script(main)
