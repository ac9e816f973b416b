"""Text of a .docx: the XML is read as a stream, so neither its size nor its nesting is ever held in memory.

A document type declaration, which such files never have, is refused: without one there are no entities to blow up.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from typing import IO, Any
from xml.parsers import expat

from services.rag.parsers.text import Text, one_line
from shared.sandbox.child import Refused

MOST_ENTRIES = 10_000
MOST_RATIO = 300
"""Decompressed bytes per stored one; text in XML comes to some 10 to 50."""
_GENEROUS_BYTES = 8 * 1024**2
"""Below this size no ratio is suspicious."""
_PIECE = 64 * 1024
_HEADING = re.compile(r"(?:heading|title|berschrift|titre)", re.I)
_BODIES = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")


def read(file: IO[bytes], text: Text, limits: dict[str, Any]) -> None:
    """Raises Refused with `unreadable`."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(names) > MOST_ENTRIES:
                raise Refused("unreadable", f"The file holds more than {MOST_ENTRIES} parts.")
            budget = _Budget(limits["unpacked_bytes"])
            text.title = _title(archive, budget) if "docProps/core.xml" in names else None
            for name in _BODIES:
                if name in names:
                    _parse(archive, name, _Body(text), budget)
    except (
        zipfile.BadZipFile,
        zlib.error,
        expat.ExpatError,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise Refused("unreadable", "The .docx is damaged; open it and save it anew.") from error
    except RuntimeError as error:  # how zipfile says that a part is encrypted
        raise Refused("encrypted", "The file is protected by a password; save a copy without one.") from error


class _Budget:
    """Decompressed bytes that are left, over all parts; what a header claims is not believed."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Refused("unreadable", "The file unpacks to more than allowed.")


def _parse(archive: zipfile.ZipFile, name: str, handler: _Handler, budget: _Budget) -> None:
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler = handler.start, handler.end
    parser.CharacterDataHandler = handler.words
    parser.StartDoctypeDeclHandler = _refuse_doctype
    stored, seen = max(1, archive.getinfo(name).compress_size), 0
    with archive.open(name) as part:
        while piece := part.read(_PIECE):
            seen += len(piece)
            budget.spend(len(piece))
            if seen > _GENEROUS_BYTES and seen > stored * MOST_RATIO:
                raise Refused("unreadable", "The file unpacks to more than allowed.")
            parser.Parse(piece, False)
    parser.Parse(b"", True)


def _refuse_doctype(*_: Any) -> None:
    raise Refused("unreadable", "The file declares entities of its own, which no .docx does.")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


class _Handler:
    """What the parser calls; names come with their namespace."""

    def start(self, name: str, attributes: dict[str, str]) -> None: ...
    def end(self, name: str) -> None: ...
    def words(self, data: str) -> None: ...


class _Body(_Handler):
    """Paragraphs, without what is deleted, hidden or only a fallback for older readers."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._paragraph: list[str] = []
        self._run: list[str] = []
        self._in_words = self._hidden = self._is_heading = False
        self._skipping = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = _local(name)
        if self._skipping or tag == "Fallback":
            self._skipping += 1
        elif tag == "r":
            self._run, self._hidden = [], False
        elif tag == "t":
            self._in_words = True
        elif tag in ("tab", "br", "cr"):
            self._run.append("\t" if tag == "tab" else "\n")
        elif tag == "pStyle":
            self._is_heading = bool(_HEADING.search(_value(attributes)))
        elif tag in ("vanish", "webHidden"):
            self._hidden = _value(attributes) not in ("0", "false", "off")

    def words(self, data: str) -> None:
        if self._in_words and not self._skipping:
            self._run.append(data)

    def end(self, name: str) -> None:
        tag = _local(name)
        if self._skipping:
            self._skipping -= 1
        elif tag == "t":
            self._in_words = False
        elif tag == "r" and not self._hidden:
            self._paragraph += self._run
        elif tag == "p":
            self._end_paragraph()

    def _end_paragraph(self) -> None:
        told = "".join(self._paragraph)
        if self._is_heading:
            self._text.heading(told)
        self._text.add(f"{told}\n")
        self._paragraph, self._is_heading = [], False


def _value(attributes: dict[str, str]) -> str:
    return next((value for name, value in attributes.items() if _local(name) == "val"), "")


class _Core(_Handler):
    """The title among the properties."""

    def __init__(self) -> None:
        self.title = ""
        self._inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._inside = _local(name) == "title"

    def words(self, data: str) -> None:
        if self._inside and len(self.title) < 1000:
            self.title += data

    def end(self, name: str) -> None:
        self._inside = False


def _title(archive: zipfile.ZipFile, budget: _Budget) -> str | None:
    core = _Core()
    _parse(archive, "docProps/core.xml", core, budget)
    return one_line(core.title) or None
