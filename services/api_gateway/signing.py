"""The keys that sign access tokens, followed while the gateway runs: `nemo rotate jwt` exchanges them in files.

A gateway whose keys came from elsewhere (its environment) follows nothing and is started anew instead.
"""

from __future__ import annotations

import asyncio
import logging

from services.api_gateway.settings import Settings
from shared.auth.tokens import UserTokens
from shared.settings import require_secret

log = logging.getLogger(__name__)
LOOK_S = 1.0
"""Between two looks at the files; `nemo rotate jwt` waits for several."""
PRIMARY, PREVIOUS = "jwt_secret_primary", "jwt_secret_previous"

Keys = tuple[str, str | None]


def configured(settings: Settings) -> Keys:
    """Raises WeakSecret."""
    previous = settings.jwt_secret_previous
    return require_secret("JWT_SECRET", settings.jwt_secret_primary), previous.get_secret_value() if previous else None


def in_files(settings: Settings) -> Keys | None:
    """The primary one first: whoever rotates writes it last, so the others are never older. None without files."""
    folder = settings.secrets_folder
    try:
        primary = (folder / PRIMARY).read_text(encoding="utf-8").strip()
        found = folder / PREVIOUS
        return primary, (found.read_text(encoding="utf-8").strip() or None) if found.is_file() else None
    except (OSError, UnicodeDecodeError):
        return None


async def follow(settings: Settings, tokens: UserTokens) -> None:
    """For ever. Keys that are not fit for use are left alone."""
    known = configured(settings)
    at_start = in_files(settings)
    if at_start is None or at_start[0] != known[0]:
        return
    while True:
        await asyncio.sleep(LOOK_S)
        found = in_files(settings)
        if found is None or found == known:
            continue
        known = found
        try:
            tokens.exchange(*found)
            log.info("the signing keys were exchanged", extra={"keys": 1 + len((found[1] or "").split())})
        except ValueError:
            log.warning("a signing key in the files is too short; those from before stay in use")
