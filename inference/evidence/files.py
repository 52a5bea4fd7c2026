"""The files of a video's evidence: where they lie, and whether they are as they were written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import BadInputError
from common.files import sha256
from inference.evidence.pages import DIGESTED, DIGESTS, evidence_file, own_file, verify_json

SUFFIXES = (".json", ".html", DIGESTS)
SIGNATURE = f"{DIGESTS}.sig"  # suffix of the file that ssh-keygen writes


def signature_file(digests: Path) -> Path:
    """Where the signature of verify.json is, if it is signed."""
    return digests.with_name(f"{digests.name}.sig")


def find_evidence(path: Path, video: Path) -> dict[str, Path]:
    """The files of a video's evidence by suffix; `path` is their folder or one of them.

    Raises BadInputError if the JSON or `verify.json` is missing.
    """
    if path.is_dir():
        ends = [video.parts[start:] for start in range(len(video.parts))]
        names = ["/".join(parts) for parts in ends if ".." not in parts and parts[0] != "/"]
        content = sha256(video) if video.is_file() else None
        name = next((name for name in names if evidence_file(path, name, ".json").is_file()), video.name)
        own = own_file(path, name, ".json", content).is_file()
        files = {
            suffix: own_file(path, name, suffix, content) if own else evidence_file(path, name, suffix)
            for suffix in SUFFIXES
        }
    else:
        stem = str(path).removesuffix(".html").removesuffix(".json").removesuffix(".verify")
        files = {suffix: Path(stem + suffix) for suffix in SUFFIXES}
    if missing := [file for suffix, file in files.items() if suffix != ".html" and not file.is_file()]:
        raise BadInputError(f"{missing[0]} is missing: {path} is not the evidence of {video.name}")
    return files


def tampered(files: Mapping[str, Path], content: Mapping[str, Any], promised: Mapping[str, Any]) -> list[str]:
    """What in the evidence is not as it was written, a sentence each.

    `content` is that of the JSON, `promised` that of `verify.json`. Raises BadInputError if the JSON is not evidence.
    """
    try:
        changed = [
            f"{files[suffix]} was changed after it was written, or is missing"
            for suffix in DIGESTED
            if not files[suffix].is_file() or promised.get("files", {}).get(suffix) != sha256(files[suffix])
        ]
        if not changed and verify_json(content, promised["files"]) | {"schema": None} != {**promised, "schema": None}:
            changed.append(f"{files['.verify.json']} does not agree with the JSON")
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{files['.json']} is not evidence: it lacks {error}") from error
    return changed
