"""Text of one message: who, when, about what, and what it says; attachments by name only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from services.rag.parsers import html
from services.rag.parsers.text import Text, decoded, one_line
from shared.sandbox.child import Refused

HEADERS = ("From", "To", "Cc", "Date", "Subject")
MOST_DEPTH = 20
MOST_PARTS = 1000
MOST_ATTACHMENTS = 100


def warm_up() -> None:
    """Imports that the standard library puts off until first use."""
    head = b"From: a <a@b.c>\nDate: Thu, 1 Jan 1970 00:00:00 +0000\nSubject: =?utf-8?b?YQ==?=\n"
    read(head + b"Content-Type: text/plain\n\na\n", Text(1000))


def read(data: bytes, text: Text) -> None:
    """Raises Refused with `unreadable`."""
    if data.startswith(b"From "):  # the line by which a mailbox parts its messages
        data = data.partition(b"\n")[2]
    try:
        message = BytesParser(policy=policy.default).parsebytes(data)
    except (RecursionError, ValueError, LookupError, IndexError, TypeError) as error:
        raise Refused("unreadable", "The message is nested too deeply or damaged.") from error
    text.title, text.occurred_at = one_line(_header(message, "Subject")) or None, _date(message)
    for name in HEADERS:
        if value := _header(message, name):
            text.add(f"{name}: {value}\n")
    text.add("\n")
    for part in _shown(message, text):
        _add_part(part, text)
    if text.attachments:
        text.warn("attachments", f"{len(text.attachments)} attachments are listed by name and not read.")
        text.add("\nAttachments: " + ", ".join(text.attachments) + "\n")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return one_line(message[name], 2000)
    except Exception:  # the standard library's parser of headers stumbles over some in many ways
        return ""


def _date(message: EmailMessage) -> str | None:
    try:
        at = message["Date"].datetime
        aware: datetime = at if at.tzinfo else at.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat()
    except Exception:  # absent, or no date at all
        return None


def _shown(message: EmailMessage, text: Text) -> Iterator[EmailMessage]:
    """The parts that a reader sees, in order; of alternatives the plain one."""
    left, seen = [(message, 0)], 0
    while left:
        part, depth = left.pop()
        seen += 1
        if depth > MOST_DEPTH or seen > MOST_PARTS:
            text.warn("cut", f"Parts nested deeper than {MOST_DEPTH} levels, or beyond {MOST_PARTS}, were left out.")
            return
        kind = part.get_content_type()
        if part.is_multipart() and kind.startswith("multipart/"):
            parts = [each for each in part.iter_parts() if isinstance(each, EmailMessage)]
            left += [(each, depth + 1) for each in reversed(_best(parts) if kind == "multipart/alternative" else parts)]
        elif kind in ("text/plain", "text/html") and not part.is_attachment():
            yield part
        elif len(text.attachments) < MOST_ATTACHMENTS:
            text.attachments.append(_name_of(part, kind))


def _best(parts: list[EmailMessage]) -> list[EmailMessage]:
    """Of the same text in several kinds the one that needs no rendering."""
    plain = [each for each in parts if each.get_content_type() == "text/plain" and _payload(each).strip()]
    return plain[:1] or parts[-1:]


def _name_of(part: EmailMessage, kind: str) -> str:
    try:
        name = one_line(part.get_filename(), 120)
    except Exception:  # a name in an encoding that nobody knows
        name = ""
    return name or ("forwarded message" if kind.startswith("message/") else kind)


def _payload(part: EmailMessage) -> bytes:
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


def _add_part(part: EmailMessage, text: Text) -> None:
    told, _ = decoded(_payload(part), part.get_content_charset())
    if part.get_content_type() == "text/html":
        html.read_page(told, text)
    else:
        text.add(told)
    text.add("\n")
