"""What a session says of itself: `Firefox 131 on Linux`, for the list in which its user looks for a stranger."""

from __future__ import annotations

import re

MOST_CHARS = 60
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
"""Product in the header and its name; those that also call themselves by another's come first."""
_SYSTEMS = (
    ("Windows", "Windows"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device_of(user_agent: str | None) -> str:
    """Browser and system where they are known, else the first product that is named; never longer than 60."""
    sent = (user_agent or "")[:500]
    browser = next((f"{name} {found}" for mark, name in _BROWSERS if (found := _version(sent, mark))), None)
    system = next((name for mark, name in _SYSTEMS if mark in sent), None)
    if browser is not None:
        return f"{browser} on {system}" if system else browser
    product = "".join(c for c in sent.split(" ")[0] if c.isprintable())
    return product[:MOST_CHARS] or "unknown"


def _version(sent: str, mark: str) -> str | None:
    found = re.search(rf"\b{mark}/(\d{{1,4}})", sent)
    return found.group(1) if found else None
