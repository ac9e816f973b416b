"""Rate limits, counted in Redis so that they hold over restarts and processes.

Headers follow the IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from shared.errors import RateLimited
from shared.storage.redis import Hit, Store


@dataclass(frozen=True)
class Limit:
    """So many requests in so many seconds."""

    name: str
    requests: int
    window_s: int

    def headers(self, hit: Hit) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.requests};w={self.window_s}',
            "RateLimit": f'"{self.name}";r={hit.remaining};t={max(0, round(hit.reset_s))}',
        }


class RateLimiter:
    """Counts per limit and subject (a user id or an address)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def check(self, limit: Limit, subject: str, headers: MutableMapping[str, str]) -> None:
        """Puts what there is to tell into `headers`. Raises RateLimited once the window is full."""
        hit = await self._store.hit(f"limit:{limit.name}:{subject}", limit.requests, limit.window_s)
        headers.update(limit.headers(hit))
        if not hit.allowed:
            raise RateLimited(
                f"At most {limit.requests} requests in {limit.window_s} s; "
                f"try again in {max(1, round(hit.reset_s))} s.",
                retry_after_s=hit.reset_s,
            )
