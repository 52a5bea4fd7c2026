"""Put our figures beside published ones, as a Markdown table.

Reads  quality/published.json: figures with their sources; our JSON files, as many as there are: benchmark.json of
       quality.benchmark, and sets.json of shipped.sets, whose figures are of single crops
Writes the table on the terminal. docs/benchmarks.md holds it.

A figure of ours stands beside a published one of the same data set, compression, manipulation and level. Those of crops
are of another list than anybody's, and stand in a column of their own.

    python -m quality.published benchmark/*/benchmark.json evaluation/sets/sets.json
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from common.command import run_script
from common.errors import BadInputError
from quality.sets.layouts import LAYOUTS

FILE = Path(__file__).with_name("published.json")
LEVELS = {"video_auc": "videos", "frame_auc": "frames"}
CROPS = {"ffpp_val": "ffpp", "celebdf_val": "celebdf2", "faces224_test": "dfdc"}  # whose data sets shipped.sets' are of


class Key(NamedTuple):
    """What a figure is of; `manipulation` is "" for all of them, `level` one of LEVELS or "crops"."""

    set: str
    compression: str
    manipulation: str
    level: str


@dataclass(frozen=True)
class Published:
    """A published figure."""

    set: str
    measure: str
    value: float
    method: str
    source: str
    list: str  # which videos it is of
    again: str  # whether others came to the same, "" if nobody is known to have tried
    compression: str = ""
    manipulation: str = ""


def read_published(path: Path = FILE) -> list[Published]:
    """The published figures."""
    return [Published(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def read_ours(paths: Iterable[Path]) -> dict[Key, str]:
    """Our figures in our files, in words. Raises BadInputError for another file, or the same figure twice."""
    found: dict[Key, str] = {}
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            figures = of_crops(content) if isinstance(content, list) else of_benchmark(content)
        except (ValueError, KeyError, TypeError) as error:
            raise BadInputError(f"{path} is neither a benchmark.json nor a sets.json: {error!r}") from error
        if twice := found.keys() & figures.keys():
            raise BadInputError(f"{path} holds a figure that another file holds, too: {next(iter(twice))}")
        found |= figures
    return found


def of_benchmark(content: Mapping[str, Any]) -> dict[Key, str]:
    """The figures of a benchmark.json of our members on a whole test list, of all manipulations or of some.

    Raises ValueError for another one.
    """
    if content["split"] != "test" or content["max_videos"] is not None or "members" not in content["run"]:
        raise ValueError("it is not of our members on a whole test list")
    which = content["split"] + (f" of {content['compression']}" if content["compression"] else "")
    parts = content["by_manipulation"] | ({"": content["overall"]} if content["all_manipulations"] else {})
    sizes = {part: sum(statuses.values()) for part, statuses in content["coverage"].items()}
    videos = {part: sizes[part] + sizes["real"] if part else sum(sizes.values()) for part in parts}
    return {
        Key(content["dataset"], content["compression"], part, level): (
            "{:.4f} ({:.3f} to {:.3f})".format(*values[name]) + f", {videos[part]} videos, {which}"
        )
        for part, values in parts.items()
        for name, level in LEVELS.items()
        if name in values and values[name][0] is not None
    }


def of_crops(rows: Sequence[Mapping[str, Any]]) -> dict[Key, str]:
    """The figures of a sets.json, of the sets that come from a public data set."""
    found = {}
    for row in rows:
        manipulation = row["part"].removeprefix("method ")
        if row["set"] in CROPS and row["auc"] is not None:
            key = Key(CROPS[row["set"]], "", manipulation, "crops")
            found[key] = f"{row['auc']:.4f}, {row['crops']} crops"
    return found


def table(published: Sequence[Published], ours: Mapping[Key, str]) -> str:
    """The figures as a Markdown table, by data set, in the order of the layouts."""
    lines = [
        "| data set | level | published | method | source | videos | in others' hands | ours | ours, single crops |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    names = list(LAYOUTS)
    for one in sorted(published, key=lambda one: (names.index(one.set), one.manipulation, one.measure, -one.value)):
        level = LEVELS[one.measure]
        name = " ".join(filter(None, (LAYOUTS[one.set].title, one.compression, one.manipulation)))
        mine = ours.get(Key(one.set, one.compression, one.manipulation, level), "")
        crops = ours.get(Key(one.set, "", one.manipulation, "crops"), "")
        cells = (name, level, f"{one.value:.4f}", one.method, one.source, one.list, one.again, mine, crops)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours", type=Path, nargs="*", metavar="JSON", help="benchmark.json or sets.json")
    options = parser.parse_args()
    print(table(read_published(), read_ours(options.ours)))
    return 0


if __name__ == "__main__":
    run_script(main)
