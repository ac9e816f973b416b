"""Text of a PDF, page by page."""

from __future__ import annotations

import io
import time
from typing import IO, Any

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from services.rag.parsers.text import Text, one_line
from shared.sandbox.child import Refused

_SMALL = b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<</Font<</F 4 0 R>>>>/Contents 5 0 R>> endobj
4 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
5 0 obj <</Length 29>> stream
BT /F 9 Tf 0 0 Td (a) Tj  ET
endstream endobj
trailer <</Root 1 0 R/Size 6>>
startxref
0
%%EOF
"""
SHARE = 0.7
"""Part of the time allowed after which no further page is begun, so that what was read is not lost."""


def warm_up() -> None:
    """Imports that pypdf puts off until first use."""
    assert PdfReader(io.BytesIO(_SMALL)).pages[0].extract_text() == "a"


def read(file: IO[bytes], text: Text, limits: dict[str, Any]) -> None:
    """Raises Refused with `encrypted` or `unreadable`."""
    try:
        reader = PdfReader(file, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("encrypted", "The PDF is protected by a password; save a copy without one and send that.")
        count = len(reader.pages)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # pypdf meets damage with whatever it stumbled over
        raise Refused("unreadable", "The PDF is damaged; open it and save it anew.") from error
    text.title, text.pages = _title(reader), count
    _pages(reader, count, text, limits)


def _pages(reader: PdfReader, count: int, text: Text, limits: dict[str, Any]) -> None:
    damaged, empty, read_of = 0, 0, 0
    for number in range(1, min(count, limits["most_pages"]) + 1):
        if time.process_time() > SHARE * limits["cpu_s"]:
            break
        text.page(number)
        try:
            found = reader.pages[number - 1].extract_text()
        except MemoryError:
            raise
        except Exception:  # one damaged page is no reason to lose the others
            found, damaged = "", damaged + 1
        empty += not found.strip()
        text.add(f"{found.strip()}\n\n" if found.strip() else "")
        read_of = number
    _warn(text, count, read_of, empty, damaged)


def _warn(text: Text, count: int, read_of: int, empty: int, damaged: int) -> None:
    if read_of < count:
        text.warn("cut", f"Only the first {read_of} of {count} pages were read; split the file to have the rest.")
    if damaged:
        text.warn("damaged_pages", f"{damaged} pages are damaged and were left out.")
    if read_of and empty - damaged == read_of:
        text.warn("scanned", "No page has a text layer: it looks scanned. Run it through text recognition (OCR) first.")
    elif empty > damaged:
        text.warn("pages_without_text", f"{empty - damaged} of {count} pages have no text layer.")


def _title(reader: PdfReader) -> str | None:
    try:
        return one_line(reader.metadata.title if reader.metadata else "") or None
    except (PyPdfError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
