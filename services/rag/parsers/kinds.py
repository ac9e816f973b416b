"""What a document is by its content; what its sender calls it is not asked."""

from __future__ import annotations

import re
import zipfile
from typing import IO

from services.rag.parsers.text import decoded
from shared.sandbox.child import Refused

HEAD_BYTES = 64 * 1024
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,20000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_HEADER = re.compile(r"(?:From [^\n]{1,500}\n)?((?:[!-9;-~]{1,80}:[^\n]*\n|[ \t][^\n]*\n)+)")
_OF_MAIL = re.compile(
    r"^(from|to|cc|date|subject|received|mime-version|message-id|return-path|delivered-to):", re.I | re.M
)
_MARKDOWN = re.compile(r"^(?: {0,3}#{1,6}[ \t]+\S| {0,3}(?:```|~~~))|\[[^\]\n]{1,200}\]\([^)\n]{1,500}\)", re.M)
_OTHERS = (
    (b"\xd0\xcf\x11\xe0", "an old Office file; save it as .docx or PDF"),
    (b"{\\rtf", "Rich Text; save it as .docx or PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x1f\x8b", "a compressed archive; unpack it first"),
    (b"7z\xbc\xaf", "a compressed archive; unpack it first"),
    (b"Rar!", "a compressed archive; unpack it first"),
    (b"RIFF", "audio or video; upload recordings to /transcription/upload"),
    (b"OggS", "audio or video; upload recordings to /transcription/upload"),
    (b"fLaC", "audio or video; upload recordings to /transcription/upload"),
    (b"ID3", "audio or video; upload recordings to /transcription/upload"),
)


def kind_of(file: IO[bytes]) -> str:
    """txt, md, html, pdf, docx or eml. Raises Refused with the code `unsupported`."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _in_zip(file)
    for begin, what in _OTHERS:
        if head.startswith(begin):
            raise _unsupported(f"The file is {what}.")
    return _of_text(head)


def _in_zip(file: IO[bytes]) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise Refused("unreadable", "The file is a damaged archive or a damaged .docx.") from error
    file.seek(0)
    if "word/document.xml" in names:
        return "docx"
    raise _unsupported("The file is an archive or an Office file other than .docx.")


def _of_text(head: bytes) -> str:
    told, encoding = decoded(head)
    if "\x00" in told[:HEAD_BYTES] and not encoding.startswith(("utf-16", "utf-32")):
        raise _unsupported("The file holds binary data.")
    if _HTML.match(told):
        return "html"
    header = _HEADER.match(told.replace("\r\n", "\n"))
    if header and len(set(map(str.lower, _OF_MAIL.findall(header.group(1))))) >= 2:
        return "eml"
    return "md" if _MARKDOWN.search(told) else "txt"


def _unsupported(what: str) -> Refused:
    return Refused("unsupported", f"{what} Text, Markdown, HTML, PDF, .docx and .eml can be read.")
