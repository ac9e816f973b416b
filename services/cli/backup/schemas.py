"""Which schema everything stored has, and which this version knows."""

from __future__ import annotations

from pathlib import Path

from services.api_gateway import repository as accounts
from services.rag.schema import STEPS as VAULT_STEPS

SERVICES = Path(__file__).resolve().parents[2]
FOLDERS = {
    "gpu-coordinator": SERVICES / "gpu_coordinator" / "migrations",
    "transcription": SERVICES / "transcription" / "migrations",
    "rag": SERVICES / "rag" / "migrations",
}
"""Migrations of PostgreSQL by the name under which they are recorded."""
USERS_STEPS = accounts.STEPS


def files(service: str, most: int | None = None) -> list[Path]:
    """Migrations of a service in their order, as far as number `most`."""
    found = sorted(FOLDERS[service].glob("[0-9][0-9][0-9]_*.sql"))
    return [each for each in found if most is None or int(each.name[:3]) <= most]


def known() -> dict[str, int]:
    """The newest schema of each kind of data that this version knows."""
    return {service: int(files(service)[-1].name[:3]) for service in FOLDERS} | {
        "users": len(USERS_STEPS),
        "vault": len(VAULT_STEPS),
    }


def newer(found: dict[str, int]) -> list[str]:
    """A sentence for each kind of data that this version does not know."""
    ours = known()
    return [
        f"{name} has schema {number}, and this version knows {ours.get(name, 0)}"
        for name, number in sorted(found.items())
        if number > ours.get(name, 0)
    ]
