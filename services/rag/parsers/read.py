"""What the child runs: one document to its text and what is known of it."""

from __future__ import annotations

import encodings
import importlib
import json
import pkgutil
import zipfile
from contextlib import suppress
from typing import IO, Any

from services.rag.parsers import docx, html, mail, pdf
from services.rag.parsers.kinds import kind_of
from services.rag.parsers.text import Full, Text, decoded, read_markdown, read_plain
from shared.sandbox.child import Refused

_ELSEWHERE = frozenset(("mbcs", "oem", "cp65001"))
"""Encodings that only Windows has."""


def warm_up() -> None:
    """All that is imported late, while files can still be opened; encodings above all."""
    for found in pkgutil.iter_modules(encodings.__path__):
        if found.name not in _ELSEWHERE:
            with suppress(ImportError):
                importlib.import_module(f"encodings.{found.name}")
    decoded("Grüße aus Köln, schöne Öfen".encode("latin-1"))
    html.read_page("<p>a</p>", Text(10))
    pdf.warm_up()
    mail.warm_up()
    zipfile.ZipInfo("a")


def work(file: IO[bytes], output: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Writes `{"text", "marks"}` as JSON; answers kind, title, pages, occurred_at, attachments and warnings.

    Raises Refused with `unsupported`, `encrypted` or `unreadable`. Limits: most_chars, most_pages, unpacked_bytes.
    """
    kind, text = kind_of(file), Text(limits["most_chars"])
    try:
        _read(kind, file, text, limits)
    except Full:
        text.warn(
            "cut", f"Only the first {limits['most_chars']} characters were read; split the file to have the rest."
        )
    except RecursionError as error:
        raise Refused("unreadable", "The file is nested too deeply.") from error
    _write(output, text)
    facts = {name: getattr(text, name) for name in ("title", "pages", "occurred_at", "attachments", "warnings")}
    return facts | {"kind": kind}


def _read(kind: str, file: IO[bytes], text: Text, limits: dict[str, Any]) -> None:
    if kind == "pdf":
        pdf.read(file, text, limits)
    elif kind == "docx":
        docx.read(file, text, limits)
    else:
        _OF_BYTES[kind](file.read(), text)


_OF_BYTES = {"eml": mail.read, "html": html.read, "md": read_markdown, "txt": read_plain}


def _write(output: int, text: Text) -> None:
    with open(output, "w", encoding="utf-8", closefd=False) as into:
        json.dump({"text": str(text), "marks": text.marks}, into, ensure_ascii=False)
