"""Write the JSON Schemas of the files that others read: the row, the evidence, verify.json and benchmark.json.

They are made from the dataclasses behind these files; the comments beside their fields become descriptions. A reader
must allow for fields that it does not know: only a change of what is there raises the `schema` number.

    python -m quality.schemas          # after a change of a format
"""

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, get_type_hints

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from common.command import command_parser, run_script
from common.files import ROOT, write_text
from inference.evidence import facts, pages
from inference.evidence.case import Case
from inference.evidence.facts import Analysis, Evidence, Provenance
from inference.results import RENAMED, SCHEMA, FaceResult, PerturbedResult, Result, ShotResult
from inference.sampling.sampled import Conditions
from inference.verdicts import Judgement
from quality.report import Report

FOLDER = ROOT / "docs/reference/schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
DESCRIBED: list[type] = [Case, Result, FaceResult, ShotResult, PerturbedResult, Conditions, Judgement]
DESCRIBED += [kind for kind in vars(facts).values() if isinstance(kind, type) and is_dataclass(kind)]
FIELD = re.compile(r"^    (\w+): [^#\n]*#+ (.+)$", re.MULTILINE)

Types = dict[str, Any]


def types_of(kind: type) -> Types:
    """The types of a dataclass's fields by their names in JSON."""
    hints = get_type_hints(kind, localns={"Evidence": Evidence})
    return {RENAMED.get(field.name, field.name): hints[field.name] for field in fields(kind)}


def shape_of(name: str, types: Types) -> type:
    """The type of an object with fields of these types."""
    return TypedDict(name, types)  # type: ignore[operator]


def row() -> Types:
    """A line of submission.jsonl, as `Result.to_row` makes it."""
    in_memory = {"path", "evidence", "faces"}
    shape = {name: kind for name, kind in types_of(Result).items() if name not in in_memory}
    face = {name: kind for name, kind in types_of(FaceResult).items() if name not in ("times", "boxes")}
    return {"schema": Literal[SCHEMA], **shape, "faces": int, "each_face": list[shape_of("Face", face)]}  # type: ignore[misc]


def evidence() -> Types:
    """A video's JSON, as `inference.evidence.pages.evidence_json` makes it."""
    of_row = row()
    shape = {"schema": Literal[pages.SCHEMA], **{name: of_row[name] for name in pages.ROW_FACTS}}
    shape |= {name: kind for name, kind in types_of(Evidence).items() if name in ("input", "provenance")}
    analysed = types_of(Analysis) | {"notes": of_row["notes"], "shots": of_row["shots"]}
    shape |= {name: NotRequired[kind] for name, kind in analysed.items()}
    return shape | {"conclusion": list[str], "case": shape_of("Case", types_of(Case)) | None, "thumbnail": str | None}


def verify() -> Types:
    """A video's verify.json, as `inference.evidence.pages.verify_json` makes it."""
    of_row, made = row(), types_of(Provenance)
    digests = {"video": str | None, "files": dict[str, str], "weights": dict[str, str | None]}
    shape = {"schema": Literal[pages.SCHEMA], "filename": str, **digests}
    return shape | {name: made[name] for name in pages.MADE_BY} | {k: of_row[k] for k in ("status", "label", "verdict")}


def benchmark() -> Types:
    """The benchmark.json of `quality.benchmark`."""
    return get_type_hints(Report)


def schema_of(name: str, types: Types) -> dict[str, Any]:
    """The JSON Schema of an object with fields of these types."""
    schema = TypeAdapter(shape_of(name, types)).json_schema(mode="serialization")
    notes = {kind.__name__: dict(FIELD.findall(inspect.getsource(kind))) for kind in DESCRIBED}
    notes |= {"Row": notes["Result"], "Face": notes["FaceResult"]}
    for title, definition in {name: schema, **schema.get("$defs", {})}.items():
        describe(definition, notes.get(title, {}))
    return {"$schema": DRAFT, **schema}


def describe(definition: Mapping[str, Any], notes: Mapping[str, str]) -> None:
    """Give the properties of an object their descriptions."""
    for name, value in definition.get("properties", {}).items():
        value.pop("title", None)  # pydantic's, which only repeats the name
        if name in notes:
            value["description"] = notes[name].replace("None", "null")


SCHEMAS = {"row": ("Row", row), "evidence": ("Evidence", evidence), "verify": ("Verify", verify)}
SCHEMAS["benchmark"] = ("Benchmark", benchmark)


def texts() -> dict[Path, str]:
    """The schemas as they are written, by path."""
    return {
        FOLDER / f"{name}.schema.json": json.dumps(schema_of(title, types()), indent=1) + "\n"
        for name, (title, types) in SCHEMAS.items()
    }


def main() -> int:
    """Write the schemas."""
    command_parser(__doc__).parse_args()
    for path, text in texts().items():
        write_text(path, text)
        print(f"schemas: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    run_script(main)
