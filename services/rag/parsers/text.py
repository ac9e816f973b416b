"""The text of a document as it is gathered, and bytes to text."""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE

from charset_normalizer import from_bytes

MOST_HEADINGS = 50_000
MOST_WARNINGS = 50
HEADING_CHARS = 200
_SAMPLE_BYTES = 64 * 1024
_BOMS = (  # the longer ones first: a UTF-32 mark begins as a UTF-16 one
    (BOM_UTF32_LE, "utf-32"),
    (BOM_UTF32_BE, "utf-32"),
    (BOM_UTF8, "utf-8-sig"),
    (BOM_UTF16_LE, "utf-16"),
    (BOM_UTF16_BE, "utf-16"),
)
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(\S.*?)[ \t#]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")


class Full(Exception):
    """The text has reached its longest length; what is there is kept."""


class Text:
    """Grows up to `most_chars`. A mark says from which character on a page or a heading holds."""

    title: str | None = None
    pages: int | None = None
    occurred_at: str | None = None
    """When it was written, RFC 3339, where the file says so."""

    def __init__(self, most_chars: int) -> None:
        self.attachments: list[str] = []
        self.length = 0
        self.marks: list[tuple[int, int | None, str | None]] = []
        """(offset in characters, page from 1 or None, heading or None), by offset."""
        self.warnings: list[dict[str, str]] = []
        self._most = most_chars
        self._parts: list[str] = []
        self._headings = 0
        self._page: int | None = None

    def add(self, piece: str) -> None:
        """Raises Full."""
        clean = _UNREADABLE.sub("", piece.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n"))
        room = self._most - self.length
        self._parts.append(clean[:room])
        self.length += min(len(clean), room)
        if len(clean) > room:
            raise Full

    def page(self, number: int) -> None:
        self._page = number
        self.marks.append((self.length, number, None))

    def heading(self, title: str) -> None:
        name = " ".join(_UNREADABLE.sub("", title).split())[:HEADING_CHARS]
        if name and self._headings < MOST_HEADINGS:
            self._headings += 1
            self.marks.append((self.length, self._page, name))

    def warn(self, code: str, detail: str) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append({"code": code, "detail": detail})

    def __str__(self) -> str:
        return "".join(self._parts)


def one_line(value: object, most_chars: int = 200) -> str:
    return " ".join(_UNREADABLE.sub("", str(value or "")).split())[:most_chars]


def decoded(data: bytes, hint: str | None = None) -> tuple[str, str]:
    """Text and the name of its encoding: a byte order mark, what the sender says, UTF-8, or the best guess."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data.decode(name, "replace"), name.removesuffix("-sig")
    for said in (hint, "utf-8"):
        try:
            if said:
                return data.decode(said), said
        except (ValueError, LookupError):
            continue
    if data[:_SAMPLE_BYTES].decode("utf-8", "replace").count("\ufffd") <= len(data[:_SAMPLE_BYTES]) // 1000:
        return data.decode("utf-8", "replace"), "utf-8 with errors"
    guess = from_bytes(data[:_SAMPLE_BYTES]).best()
    name = guess.encoding if guess is not None else "latin-1"
    return data.decode(name, "replace"), name


def read_plain(data: bytes, text: Text) -> None:
    told, encoding = decoded(data)
    warn_of_guess(text, encoding)
    text.add(told)


def warn_of_guess(text: Text, encoding: str) -> None:
    if not encoding.lower().startswith(("utf-", "ascii", "us-ascii")):
        text.warn("encoding_guessed", f"The text names no encoding; it was read as {encoding}.")
    elif encoding.endswith("errors"):
        text.warn("encoding_damaged", "Some bytes are no UTF-8; they are shown as \ufffd.")


def read_markdown(data: bytes, text: Text) -> None:
    """The text as it is, with its headings marked; the title is the first one."""
    told, encoding = decoded(data)
    warn_of_guess(text, encoding)
    fenced = False
    for line in told.splitlines(keepends=True):
        fenced ^= bool(_FENCE.match(line))
        found = None if fenced else _ATX.match(line.rstrip("\r\n")[:1000])
        if found:
            text.title = text.title or one_line(found.group(1))
            text.heading(found.group(1))
        text.add(line)
