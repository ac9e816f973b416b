"""Who did what to accounts: a log that shows it when somebody has changed it.

Each entry carries an HMAC over itself and over the one before it, and the head is signed apart, so that an entry cannot
be changed, taken out, put in or cut off at the end without the key, which is not in the database (a hash chain, as in
Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999). What it cannot show is that the whole
database was put back to an earlier day.

Entries hold ids, addresses and fixed words. What was typed as a user name is not kept: it may be a password.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.api_gateway.repository import Accounts
from shared.schemas.identity import AuditEntry, AuditPage

_COLUMNS = ("seq", "at", "action", "actor", "subject", "address", "details")


class AuditLog:
    """In the database of the accounts."""

    def __init__(self, accounts: Accounts, key: bytes) -> None:
        """`key`: 32 bytes that are not kept in the database."""
        self._accounts, self._key = accounts, key

    async def note(
        self,
        action: str,
        *,
        actor: str | None = None,
        subject: str | None = None,
        address: str | None = None,
        **details: str,
    ) -> None:
        """Durable when it returns. `action` and `details` are words of ours, the others ids."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = {"at": at, "action": action, "actor": actor, "subject": subject, "address": address}
        await self._accounts.change(lambda db: self._append(db, said | {"details": json.dumps(details)}))

    def _append(self, db: Any, said: Mapping[str, Any]) -> None:
        head = db.execute("SELECT seq, mac FROM audit_head").fetchone()
        last = db.execute("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
        seq = max(head["seq"] if head else 0, last["seq"] if last else 0) + 1
        entry = {"seq": seq, **said}
        mac = self._mac(entry, last["mac"] if last else b"")
        db.execute(
            "INSERT INTO audit (seq, at, action, actor, subject, address, details, mac)"
            " VALUES (:seq, :at, :action, :actor, :subject, :address, :details, :mac)",
            entry | {"mac": mac},
        )
        if self._fits(head, last):  # a chain that is broken stays broken
            db.execute(
                "INSERT INTO audit_head VALUES (1, ?1, ?2) ON CONFLICT (only) DO UPDATE SET seq = ?1, mac = ?2",
                (seq, self._head_mac(seq, mac)),
            )

    def _fits(self, head: Any, last: Any) -> bool:
        if head is None or last is None:
            return head is None and last is None
        return hmac.compare_digest(head["mac"], self._head_mac(last["seq"], last["mac"]))

    def _mac(self, entry: Mapping[str, Any], before: bytes) -> bytes:
        said = json.dumps([entry[name] for name in _COLUMNS]).encode()
        return hmac.new(self._key, b"entry" + before.rjust(32, b"\0") + said, hashlib.sha256).digest()

    def _head_mac(self, seq: int, mac: bytes) -> bytes:
        return hmac.new(self._key, b"head" + seq.to_bytes(8, "big") + mac, hashlib.sha256).digest()

    async def page(self, limit: int, cursor: int | None) -> AuditPage:
        """The newest first, and whether the whole log is as it was written."""
        return await self._accounts.look(lambda db: self._page(db, limit, cursor))

    async def intact(self) -> bool:
        """Whether the whole log is as it was written."""
        return await self._accounts.look(self._first_broken) is None

    def _page(self, db: Any, limit: int, cursor: int | None) -> AuditPage:
        rows = db.execute(
            "SELECT * FROM audit WHERE (?1 IS NULL OR seq < ?1) ORDER BY seq DESC LIMIT ?2", (cursor, limit + 1)
        ).fetchall()
        data = [_entry(row) for row in rows[:limit]]
        more = len(rows) > limit
        broken = self._first_broken(db)
        return AuditPage(
            data=data,
            next_cursor=str(data[-1].seq) if more else None,
            has_more=more,
            verified=broken is None,
            first_broken=broken,
        )

    def _first_broken(self, db: Any) -> int | None:
        """Number of the first entry that is not what was written there; None where all are."""
        expected, before = 1, b""
        for row in db.execute("SELECT * FROM audit ORDER BY seq"):
            if row["seq"] != expected or not hmac.compare_digest(row["mac"], self._mac(row, before)):
                return expected
            expected, before = expected + 1, row["mac"]
        head = db.execute("SELECT seq, mac FROM audit_head").fetchone()
        if head is None:
            return None if expected == 1 else expected
        return None if hmac.compare_digest(head["mac"], self._head_mac(expected - 1, before)) else expected


def _entry(row: Any) -> AuditEntry:
    values = {name: row[name] for name in _COLUMNS}
    return AuditEntry.model_validate(values | {"details": json.loads(values["details"])})
