"""Put the evidence of one video into one ZIP file to hand over.

Reads  the evidence of a video as inference.predict --evidence wrote it (JSON, page, verify.json), and the signature of
       verify.json, if one lies beside it
Writes <video>.zip with these files and, if Chromium is installed, the page as a PDF

Evidence that was changed after it was written is refused, and that of another file of the same name.
`inference.verify` takes the ZIP file as it is.

    python -m inference.bundle evidence/ clip.mp4                    # writes clip.mp4.zip
    python -m inference.verify clip.mp4.zip clip.mp4
"""

import argparse
from pathlib import Path

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import sha256
from inference.evidence.bundle import print_page, write_bundle
from inference.evidence.files import SIGNATURE, find_evidence, signature_file, tampered
from inference.evidence.pages import DIGESTS, read_object


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE", help="its folder, or the video's JSON in it")
    parser.add_argument("video", type=Path, metavar="VIDEO", help="its file, or only its name")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: <video>.zip in the current folder")
    return parser.parse_args()


def main() -> int:
    """Check the evidence and write the bundle."""
    options = parse_arguments()
    files = find_evidence(options.evidence, options.video)
    promised = read_object(files[DIGESTS])
    if changed := tampered(files, read_object(files[".json"]), promised):
        raise BadInputError("; ".join(changed))
    if options.video.is_file() and sha256(options.video) != promised["video"]:
        raise BadInputError(f"{options.video} is not the file that this evidence is about")
    signature = signature_file(files[DIGESTS])
    if signature.is_file():
        files[SIGNATURE] = signature
    output = options.output or Path(f"{options.video.name}.zip")
    with print_page(files[".html"]) as pdf:
        everything = files | ({".pdf": pdf} if pdf else {})
        write_bundle(output, options.video.name, {suffix: file.read_bytes() for suffix, file in everything.items()})
    how = "signed" if signature.is_file() else "not signed"
    print(f"bundle: {output}, {how}, {'with a PDF' if pdf else 'without a PDF, because no Chromium is installed'}")
    return 0


if __name__ == "__main__":
    run_script(main)
