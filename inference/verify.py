"""Score a video again and say whether its evidence still holds: number by number, and what changed since.

Reads  the evidence of a video as inference.predict --evidence wrote it (JSON, page, verify.json); the video;
       the checkpoints; a signature of verify.json if one lies beside it
Writes nothing but what it finds, on the terminal

First the files: a JSON or page that was changed is named. Then the video is scored with the settings that the evidence
holds. `identical` means that every number and every box is; on the machine kind and the lock of the evidence nothing
else is to be expected. On another machine, scores within TOLERANCE of each other and boxes within a pixel count as the
same. The exit status is 1 if a file was changed, a signature is wrong, the video is another file, or a number is
further away.

    python -m inference.verify evidence/ clip.mp4
    ssh-keygen -Y sign -f ~/.ssh/id_ed25519 -n evidence evidence/clip.mp4.verify.json      # whoever made it signs it
    python -m inference.verify evidence/ clip.mp4 --signers allowed_signers --identity me@example.org
"""

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.command import run_script
from common.errors import BadInputError
from common.files import sha256
from inference.evidence.differences import TOLERANCE, Difference, differences, split
from inference.evidence.pages import DIGESTED, evidence_file, to_json, to_verify
from inference.scorer import Scorer
from inference.settings import Settings, add_options

NAMESPACE = "evidence"  # of signatures by ssh-keygen
SUFFIXES = (".json", ".html", ".verify.json")
SHOWN = 5  # numbers that differ


def find_evidence(path: Path, video: Path) -> dict[str, Path]:
    """The files of a video's evidence by their suffix, from a folder or one of them. Raises BadInputError."""
    if path.is_dir():
        parts = video.parts
        names = ["/".join(parts[at:]) for at in range(len(parts)) if ".." not in parts[at:] and parts[at] != "/"]
        name = next((name for name in names if evidence_file(path, name, ".json").is_file()), video.name)
        files = {suffix: evidence_file(path, name, suffix) for suffix in SUFFIXES}
    else:
        stem = str(path).removesuffix(".html").removesuffix(".json").removesuffix(".verify")
        files = {suffix: Path(stem + suffix) for suffix in SUFFIXES}
    if missing := [file for suffix, file in files.items() if suffix != ".html" and not file.is_file()]:
        raise BadInputError(f"{missing[0]} is missing: {path} is not the evidence of {video.name}")
    return files


def read_json(path: Path) -> dict[str, Any]:
    """An object of a file. Raises BadInputError."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadInputError(f"{path} is not evidence")
    return content


def tampered(files: Mapping[str, Path], content: Mapping[str, Any], promised: Mapping[str, Any]) -> list[str]:
    """What of the evidence is not as it was written, a sentence each.

    `content` is that of the JSON, `promised` that of `verify.json`. Raises KeyError or TypeError if the JSON lacks what
    evidence has.
    """
    found = [
        f"{files[suffix]} was changed or is missing since it was written"
        for suffix in DIGESTED
        if not files[suffix].is_file() or promised.get("files", {}).get(suffix) != sha256(files[suffix])
    ]
    if not found:
        expected = to_verify(content, promised["files"])
        if expected | {"schema": None} != {**promised, "schema": None}:
            found.append(f"{files['.verify.json']} does not agree with the JSON")
    return found


def signature(signed: Path, signers: Path | None, identity: str | None) -> tuple[bool, str]:
    """Whether the signature beside a file is right, or absent, and what is known of it.

    Raises BadInputError if a signer is asked for and there is no signature, or if there is no ssh-keygen.
    """
    file = signed.with_name(f"{signed.name}.sig")
    if not file.is_file():
        if signers:
            raise BadInputError(f"{file} is missing: {signed.name} is not signed")
        return True, "not signed"
    how = ["check-novalidate"] if signers is None else ["verify", "-f", str(signers), "-I", str(identity)]
    command = ["ssh-keygen", "-Y", *how, "-n", NAMESPACE, "-s", str(file)]
    try:
        done = subprocess.run(command, input=signed.read_bytes(), capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BadInputError(f"{file}: there is no ssh-keygen to check it with (Debian: openssh-client)") from error
    if done.returncode:
        return False, f"{file} does not sign it: {(done.stderr or done.stdout).decode(errors='replace').strip()}"
    return True, f"signed by {identity}" if signers else "signed; the signer was not checked (--signers, --identity)"


def settings_of(evidence: Mapping[str, Any], models: Path, calibration: Path | None) -> Settings:
    """The settings by which the evidence was made. Raises BadInputError if it does not hold them."""
    try:
        made = evidence["provenance"]
        detector = Path(made["detector"]["weights"])
        recorded = Settings.recorded_in(made["settings"])
        return recorded.changed(
            models=models,
            calibration=calibration,
            members=",".join(made["members"]),
            detector_weights=detector if detector.is_file() else None,
            runtime=made["runtime"],
            device="cpu" if made["device"] == "cpu" else "auto",
            precision=made["precision"],
            evidence=True,
        )
    except (KeyError, TypeError) as error:
        raise BadInputError(f"the evidence does not say how it was made: {error!r}") from error


def score_again(evidence: Mapping[str, Any], video: Path, settings: Settings) -> dict[str, Any]:
    """The evidence of a video, made anew under the name that it had."""
    with Scorer(settings) as scorer:
        return to_json(scorer.score(video, evidence["filename"]))


def describe(numbers: list[Difference], parts: list[Difference]) -> list[str]:
    """What differs, in sentences."""
    sentences = [f"changed: {part}" for part in parts]
    far = sorted(numbers, key=lambda one: -one.distance)
    if far:
        sentences.append(f"{len(far)} numbers differ; the furthest: " + "; ".join(map(str, far[:SHOWN])))
    return sentences


def main() -> int:
    """Check the files, score again, compare; return 1 if the evidence does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE", help="its folder, or the video's JSON in it")
    parser.add_argument("video", type=Path, metavar="VIDEO")
    add_options(parser, ("models", "calibration"))
    parser.add_argument("--signers", type=Path, metavar="FILE", help="keys by name, as ssh-keygen's ALLOWED SIGNERS")
    parser.add_argument("--identity", metavar="NAME", help="of --signers: who should have signed")
    options = parser.parse_args()
    if (options.signers is None) != (options.identity is None):
        raise BadInputError("--signers and --identity belong together")
    files = find_evidence(options.evidence, options.video)
    promised, before = read_json(files[".verify.json"]), read_json(files[".json"])
    try:
        changed = tampered(files, before, promised)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{files['.json']} is not evidence: it lacks {error}") from error
    is_right, signed = signature(files[".verify.json"], options.signers, options.identity)
    print(f"verify: {files['.verify.json']}: {signed}")
    for sentence in changed or ["its JSON and its page are as they were written"]:
        print(f"verify: {sentence}")
    after = score_again(before, options.video, settings_of(before, options.models, options.calibration))
    parts, numbers = split(differences(before, after))
    for sentence in describe(numbers, parts):
        print(f"verify: {sentence}")
    is_same_file = before["input"]["sha256"] == after["input"]["sha256"]
    holds = all(one.distance <= one.allowed for one in numbers) and is_right and not changed and is_same_file
    if not is_same_file:
        print("verify: this is not the file that was scored")
    same = "identical" if not numbers else f"the same within {TOLERANCE:g}"
    print(f"verify: {options.video.name}: {same if holds else 'DOES NOT HOLD'}")
    return int(not holds)


if __name__ == "__main__":
    run_script(main)
