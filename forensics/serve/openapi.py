"""The API as a table. A row of it makes a route, a line of the page /docs, and an operation of /openapi.json.

The document is OpenAPI 3.1. A handler's docstring describes its operation; the types of what is answered make the
schemas.
"""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import GenericAlias, NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_type_hints

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common.files import ROOT
from common.version import NAME, VERSION
from forensics.serve.uploads import Refused

ROW = ROOT / "docs/reference/schemas/row.schema.json"  # written by quality.schemas
COMPONENTS = "#/components/schemas/"
PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
# Why a request may be refused. Those of OF_EVERYBODY do not depend on what the path is for.
REFUSALS = {
    400: "the query has a parameter that this path does not take, a field of the case is too long, or a form is broken "
    "or holds something other than files",
    401: "the server has a token: send `Authorization: Bearer TOKEN`",
    403: "the request comes from a page of another site",
    404: "there is no such job: it may have been deleted; or no such path",
    405: "the path does not take this method; the header `Allow` names those that it takes",
    408: "the file stopped arriving, or the server is ending",
    409: "the job has no result yet",
    410: "there will be no result: the job was cancelled, or the server ended first, or something else removed the "
    "result from the server's folder",
    413: "a file has more bytes, or a batch more files, than the server allows",
    415: "the body is of another kind; the answer says how to send it",
    421: "the header `Host` names another server",
    500: "a bug in this software, or the disk was full when the result was written",
    503: "too many files are already arriving, waiting or being scored, or the server is ending; the header "
    "`Retry-After` says when to try again",
    504: "the file took more seconds of work than the server allows",
    507: "no space is left on the server's disk",
}
OF_EVERYBODY = (400, 401, 403, 421)

Schema = dict[str, Any]


class Content(NamedTuple):
    """What a request or an answer holds: its media type and its schema."""

    kind: str
    schema: Schema

    def to_json(self) -> Schema:
        """As an operation has it."""
        return {"content": {self.kind: {"schema": self.schema}}}


@dataclass(frozen=True)
class Endpoint:
    """What the server does at a path, for some methods."""

    path: str
    handler: Callable[[Request], Awaitable[Response]]
    answer: Content | None = None
    refusals: Sequence[int] = ()
    methods: tuple[str, ...] = ("GET",)
    status: int = 200
    takes: Content | None = None
    queries: Mapping[str, str] = field(default_factory=dict)  # what each parameter means
    is_open: bool = False  # answers without the token
    failing: int | None = None  # the status of an answer of the same kind that is bad news

    @property
    def words(self) -> str:
        """What it does, for people."""
        return inspect.getdoc(self.handler) or ""

    @property
    def shown(self) -> str:
        """Its path as documentation for people has it: `/jobs/ID`."""
        return re.sub(r"{(\w+)}", lambda name: name[1].upper(), self.path)

    async def answer_to(self, request: Request) -> Response:
        """The answer to a request. Raises Refused for parameters that it does not know."""
        if unknown := sorted(request.query_params.keys() - self.queries.keys()):
            known = f"it has {', '.join(self.queries)}" if self.queries else "it has none"
            raise Refused(400, f"{self.shown} has no parameter {', '.join(unknown)}: {known}.")
        return await self.handler(request)

    def operation(self, method: str) -> Schema:
        """What it does for one of its methods."""
        name: str = self.handler.__name__
        summary, _, rest = self.words.partition("\n")
        in_path = [parameter(name, "path", "") for name in re.findall(r"{(\w+)}", self.path)]
        refusals = sorted({*self.refusals, *OF_EVERYBODY} - ({401} if self.is_open else set()))
        answer = {"description": summary, **(self.answer.to_json() if self.answer else {})}
        error = Content("application/json", reference("Error")).to_json()
        return {
            "operationId": name if method == self.methods[0] else f"{name}_by_{method.lower()}",
            "summary": summary,
            "description": rest.strip() or summary,
            "parameters": in_path + [parameter(name, "query", words) for name, words in self.queries.items()],
            **({"requestBody": self.takes.to_json() | {"required": True}} if self.takes else {}),
            "responses": {
                str(self.status): answer,
                **(
                    {str(self.failing): answer | {"description": "the same, if it is bad news"}} if self.failing else {}
                ),
                **{str(status): {"description": REFUSALS[status], **error} for status in refusals},
            },
            **({"security": []} if self.is_open else {}),
        }


def routes(endpoints: Sequence[Endpoint]) -> list[Route]:
    """A route for each path, which knows all methods that its endpoints take."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {}).update(dict.fromkeys(endpoint.methods, endpoint))
    return [route(path, by_method) for path, by_method in by_path.items()]


def route(path: str, by_method: Mapping[str, Endpoint]) -> Route:
    """The route of a path."""

    async def handle(request: Request) -> Response:
        return await by_method["GET" if request.method == "HEAD" else request.method].answer_to(request)

    return Route(path, handle, methods=list(by_method))


def parameter(name: str, place: str, words: str) -> Schema:
    """A parameter of an operation, in its path or in its query."""
    return {"name": name, "in": place, "required": place == "path", "description": words, "schema": {"type": "string"}}


def reference(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": COMPONENTS + name}


def document(endpoints: Sequence[Endpoint], schemas: Mapping[str, Schema], has_token: bool) -> Schema:
    """The OpenAPI document of endpoints whose schemas refer to `schemas` by name."""
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        operations = {method.lower(): endpoint.operation(method) for method in endpoint.methods}
        paths.setdefault(endpoint.path, {}).update(operations)
    token = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": NAME, "version": VERSION, "description": "Is a face in a video swapped?"},
        "paths": paths,
        "components": {"schemas": dict(schemas), **(token if has_token else {})},
        **({"security": [{"token": []}]} if has_token else {}),
    }


def row_schemas() -> dict[str, Schema]:
    """The schemas of a row and of what it holds, from the file that describes rows; without it, any object is a row."""
    if not ROW.is_file():
        return {"Row": {"type": "object", "description": "a line of submission.jsonl"}}
    row = json.loads(ROW.read_text(encoding="utf-8").replace("#/$defs/", COMPONENTS))
    return {**row.pop("$defs", {}), "Row": {key: value for key, value in row.items() if key != "$schema"}}


def object_schema(types: Mapping[str, Any]) -> Schema:
    """The schema of an object that always has fields of these types."""
    properties = {name: schema_of(kind) for name, kind in types.items()}
    return {"type": "object", "properties": properties, "required": list(types)}


def tuple_schema(kind: type) -> Schema:
    """The schema of an object that holds the fields of a NamedTuple."""
    return object_schema(get_type_hints(kind))


def listed(meanings: Mapping[Any, str]) -> str:
    """What the words of an enumeration mean, for people."""
    return "; ".join(f"{word}: {meaning}" for word, meaning in meanings.items())


def enum_schema(kind: type[StrEnum]) -> Schema:
    """The schema of a word of an enumeration."""
    return {"type": "string", "enum": [str(word) for word in kind]}


def schema_of(kind: Any) -> Schema:  # noqa: ANN401 - a type, or a union of types
    """The schema of a type. A class of ours is a reference to the schema that the document has under its name."""
    if isinstance(kind, GenericAlias):  # a list
        return {"type": "array", "items": schema_of(*get_args(kind))}
    if isinstance(kind, UnionType):
        return {"anyOf": [schema_of(part) for part in get_args(kind)]}
    return {"type": PRIMITIVES[kind]} if kind in PRIMITIVES else reference(kind.__name__)
