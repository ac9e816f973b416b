"""`Range: bytes=...` (RFC 9110, section 14): one range is served; several are answered whole, as the RFC allows."""

from __future__ import annotations

import re

from shared.errors import RangeNotSatisfiable

_ONE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")


def parse(header: str | None, size: int) -> tuple[int, int] | None:
    """`[start, end)` of the one range asked for; None for the whole. Raises RangeNotSatisfiable."""
    found = _ONE.match((header or "").replace(" ", "")[:64])
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return None  # not valid, so to be ignored (section 14.1.1)
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= size or end <= start:
        raise RangeNotSatisfiable(f"The file has {size} bytes.")
    return start, end
