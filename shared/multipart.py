"""A multipart body as a stream: the file goes on as it comes, the fields are collected; nothing is held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from shared.errors import BadRequest, Invalid, TooLarge, UnsupportedMedia
from shared.schemas.problem import FieldError

MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS = 50


class MultipartBody:
    """`async for chunk in body.file("file")` gives the file; `body.fields` is whole once that has ended."""

    def __init__(self, content_type: str, stream: AsyncIterator[bytes]) -> None:
        kind, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise UnsupportedMedia("Send the file as multipart/form-data, for example with `curl -F file=@talk.wav`.")
        self.fields: dict[str, str] = {}
        self.pairs: list[tuple[str, str]] = []
        """All fields as they came; a list is one name several times."""
        self.filename: str | None = None
        self.content_type: str | None = None
        self._stream = stream
        try:
            self._parser = MultipartParser(boundary, self._callbacks())
        except FormParserError as error:
            raise BadRequest("The boundary of the multipart body is too long.") from error
        self._whole = False
        self._events: list[tuple[str, Any]] = []
        self._header: list[bytes] = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda data, start, end: self._events.append(("data", data[start:end])),
            "on_part_end": lambda: self._events.append(("end", None)),
            "on_end": self._end,
        }

    def _end(self) -> None:
        self._whole = True

    def _part_begin(self) -> None:
        self._headers, self._header = {}, [b"", b""]

    def _add(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = [b"", b""]

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._events.append(("begin", (options, self._headers.get(b"content-type"))))

    async def _next_events(self) -> AsyncIterator[tuple[str, Any]]:
        try:
            async for chunk in self._stream:
                self._parser.write(chunk)
                events, self._events = self._events, []
                for event in events:
                    yield event
        except FormParserError as error:
            raise BadRequest("The multipart body is malformed.") from error
        except ClientDisconnect as error:
            raise BadRequest("The upload broke off.") from error
        if not self._whole:
            raise BadRequest("The multipart body breaks off before its end.")

    async def file(self, *names: str) -> AsyncIterator[bytes]:
        """The bytes of the one file; fields before and after it are collected on the way. Raises Invalid without it."""
        inside, found = False, False
        async for what, value in self._next_events():
            if what == "begin":
                inside = self._begin(value, names)
                if inside and found:
                    raise Invalid("Send one file at a time.")
                found = found or inside
            elif inside and what == "data":
                yield value
            else:
                self._collect(what, value)
                inside = inside and what != "end"
        if not found:
            detail = f"The file is missing; send it in the field `{names[0]}`."
            raise Invalid(detail, errors=[FieldError(pointer=f"/{names[0]}", detail="required")])

    async def whole(self, *names: str, most: int, detail: str) -> bytes:
        """The file in memory. Raises Invalid without it, TooLarge with `detail` beyond `most` bytes."""
        data = bytearray()
        async for chunk in self.file(*names):
            data += chunk
            if len(data) > most:
                raise TooLarge(detail)
        return bytes(data)

    def _begin(self, value: Any, names: tuple[str, ...]) -> bool:
        """True where the part that begins is the file."""
        options, content_type = value
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name in names:
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")[:255] or None
            self.content_type = (content_type or b"").decode("latin-1")[:100] or None
            return True
        if len(self.pairs) >= MAX_FIELDS:
            raise Invalid("The form has too many fields.")
        self._field, self._value = name, bytearray()
        return False

    def _collect(self, what: str, value: Any) -> None:
        if self._field is None:
            return
        if what == "data":
            self._value += value
            if len(self._value) > MAX_FIELD_BYTES:
                raise TooLarge(f"The field {self._field[:50]!r} is too long.")
        else:
            self.fields[self._field] = bytes(self._value).decode("utf-8", "replace")
            self.pairs.append((self._field, self.fields[self._field]))
            self._field = None
