"""`nemo doctor`: each thing that can be wrong, why that matters, what to do, and where more is written."""

from __future__ import annotations

from dataclasses import dataclass

GUIDE = "docs/operations.md"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    code: str
    """Stable, for scripts: `disk_full`."""
    what: str
    why: str
    """What comes of it when nobody does anything."""
    do: str
    topic: str
    """The heading of the guide, as the end of a link: `disk-full`."""
    grave: bool = True
    """False: a piece of advice, which leaves the exit code at 0."""

    @property
    def see(self) -> str:
        return f"{GUIDE}#{self.topic}"
