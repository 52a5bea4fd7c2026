"""Who signed a file, if it carries content credentials (C2PA): what they say, and whether signature and hashes hold.

They are read offline, by c2pa-python where that is installed. No list of trusted signers comes with this project, so
that a signer is named but not checked. None of it is part of a score.
"""

import json
from pathlib import Path
from typing import Any

from faces.containers import top_level_boxes
from faces.file_facts import Fact, clean, file_facts

NAME = "content credentials (C2PA)"
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # of the box in MP4 that holds a manifest (C2PA, A.5)
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
NOT_CHECKED = "signingCredential.untrusted"
LARGEST_PICTURE = 256 << 20  # bytes that are looked through for a manifest


def facts_of(path: Path, stream: int | None) -> list[Fact]:
    """What a file says about how it was made; `stream` is the number of the stream that is scored, None for a picture.

    Raises DecodeError or UnsupportedError as `faces.streams.open_video` does.
    """
    return ([] if stream is None else file_facts(path, stream)) + manifest_facts(path)


def manifest_facts(path: Path) -> list[Fact]:
    """What a file's content credentials say, in a line; nothing if it has none."""
    if not has_manifest(path):
        return []
    try:
        import c2pa
    except ImportError:
        return [Fact(NAME, "there are some; to read them: pip install c2pa-python")]
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE))
        with c2pa.Reader(str(path), context=context) as reader:
            said = in_words(json.loads(reader.json()))
    except (c2pa.C2paError, KeyError, TypeError, ValueError) as error:
        said = f"there are some, but they cannot be read: {error}"
    return [Fact(NAME, clean(said))]


def has_manifest(path: Path) -> bool:
    """Whether an MP4, a JPEG or a PNG holds a manifest."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith((b"\xff\xd8\xff", b"\x89PNG")):
            content = head + file.read(LARGEST_PICTURE)
            return b"jumb" in content and b"c2pa" in content
        for box in top_level_boxes(file, size):
            file.seek(box.start)
            if box.kind == b"uuid" and file.read(16) == UUID:
                return True
    return False


def in_words(store: dict[str, Any]) -> str:
    """What a manifest store says. Raises KeyError or TypeError if it is none."""
    manifest = store["manifests"][store["active_manifest"]]
    signature = manifest["signature_info"]
    signer = f"{signature.get('common_name') or 'nobody named'} ({signature.get('issuer') or 'no issuer'})"
    when = f", {signature['time']}" if signature.get("time") else ""
    wrong = [one["code"] for one in store.get("validation_status") or () if one["code"] != NOT_CHECKED]
    if store.get("validation_state") not in ("Valid", "Trusted") or wrong:
        return f"they do NOT hold ({', '.join(wrong) or 'invalid'}); they name {signer}{when} as signer"
    return f"signed by {signer}{when}; signature and hashes hold, the signer was not checked"
