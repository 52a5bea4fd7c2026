"""Content credentials (C2PA) of a file: who signed it, and whether signature and hashes hold.

They are read offline by c2pa-python, if that is installed. This project has no list of trusted signers, so a signer is
named but not checked. Nothing here is part of a score.
"""

import json
from pathlib import Path
from typing import Any

from faces.containers import top_level_chunks
from faces.file_facts import Fact, clean, file_facts

NAME = "content credentials (C2PA)"
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the MP4 box that holds a manifest (C2PA, A.5)
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
NOT_CHECKED = "signingCredential.untrusted"
LARGEST_PICTURE = 256 << 20  # bytes that are searched for a manifest


def provenance_facts(path: Path, stream: int | None) -> list[Fact]:
    """What a file says about how it was made. `stream` is the number of the scored stream, None for a picture.

    Raises DecodeError or UnsupportedError as `faces.streams.open_video` does.
    """
    return ([] if stream is None else file_facts(path, stream)) + manifest_facts(path)


def manifest_facts(path: Path) -> list[Fact]:
    """One fact that says what a file's content credentials say; none if it has no credentials."""
    if not has_manifest(path):
        return []
    try:
        import c2pa
    except ImportError:
        return [Fact(NAME, "there are some; to read them: pip install c2pa-python")]
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE))
        with c2pa.Reader(str(path), context=context) as reader:
            description = describe_manifests(json.loads(reader.json()))
    except (c2pa.C2paError, KeyError, TypeError, ValueError) as error:
        description = f"there are some, but they cannot be read: {error}"
    return [Fact(NAME, clean(description))]


def has_manifest(path: Path) -> bool:
    """Whether a file is an MP4, JPEG or PNG that holds a manifest."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith((b"\xff\xd8\xff", b"\x89PNG")):
            content = head + file.read(LARGEST_PICTURE)
            return b"jumb" in content and b"c2pa" in content
        for chunk in top_level_chunks(file, size):
            file.seek(chunk.start)
            if chunk.kind == b"uuid" and file.read(16) == UUID:
                return True
    return False


def describe_manifests(store: dict[str, Any]) -> str:
    """A sentence about a manifest store in c2pa's JSON. Raises KeyError or TypeError for anything else."""
    manifest = store["manifests"][store["active_manifest"]]
    signature = manifest["signature_info"]
    signer = f"{signature.get('common_name') or 'nobody named'} ({signature.get('issuer') or 'no issuer'})"
    when = f", {signature['time']}" if signature.get("time") else ""
    wrong = [entry["code"] for entry in store.get("validation_status") or () if entry["code"] != NOT_CHECKED]
    if store.get("validation_state") not in ("Valid", "Trusted") or wrong:
        return f"they do NOT hold ({', '.join(wrong) or 'invalid'}); they name {signer}{when} as signer"
    return f"signed by {signer}{when}; signature and hashes hold, the signer was not checked"
