"""The files of a form (multipart/form-data), one after another as they arrive: none is ever in memory as a whole."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from forensics.serve.uploads import Refused, Upload

FORM = "multipart/form-data"


class Form:
    """A form whose parts are files, whatever their fields are called."""

    def __init__(self, content_type: str, chunks: AsyncGenerator[bytes, None]) -> None:
        """Raises Refused if the header Content-Type does not say what stands between the parts."""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise Refused(400, "The form is broken: the header Content-Type names no boundary.")
        callbacks = {name: getattr(self, f"_{name}") for name in CALLBACKS}
        try:
            self.parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise Refused(400, f"The form is broken: {error}.") from error
        self.parser.logger.disabled = True  # it would write on stderr whatever clients send
        self.chunks = chunks
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._events: deque[str | bytes | None] = deque()  # the name of a file that begins, its content, None: its end
        self._is_complete = False

    async def files(self) -> AsyncIterator[Upload]:
        """Yield each file's name and content. Read the content before the next file.

        Raises Refused for a broken form, and for a part that is not a file.
        """
        while await self._arrives():
            yield str(self._events.popleft()), self._content()

    async def _content(self) -> AsyncIterator[bytes]:
        while await self._arrives() and (data := self._events.popleft()) is not None:
            assert isinstance(data, bytes)
            yield data

    async def _arrives(self) -> bool:
        """Wait for the next event. Returns False at the end of the form."""
        while not self._events:
            chunk = await anext(self.chunks, None)
            if chunk is None:
                if not self._is_complete:
                    raise Refused(400, "The form is broken: it has no end.")
                return False
            try:
                self.parser.write(chunk)
            except FormParserError as error:
                raise Refused(400, f"The form is broken: {error}.") from error
        return True

    # What the parser calls

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"filename" not in options:
            field = options.get(b"name", b"").decode(errors="replace")
            raise Refused(400, f"The part {field!r} of the form is not a file.")
        self._events.append(options[b"filename"].decode(errors="replace"))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(None)

    def _on_end(self) -> None:
        self._is_complete = True


CALLBACKS = (
    *("on_part_begin", "on_part_data", "on_part_end", "on_end"),
    *("on_header_field", "on_header_value", "on_header_end", "on_headers_finished"),
)
