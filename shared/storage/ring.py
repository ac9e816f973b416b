"""What is the same of keys wherever their rows are: who wrapped them, and who may have them (docs/adr/0014)."""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from shared.crypto import box, passphrase
from shared.crypto.envelope import WrongKey, derive, new_key, seal, unseal
from shared.errors import Conflict, NotFound, VaultLocked

_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passphrase")
"""Each derivation takes 64 MiB; more than two at once would take the machine."""


@dataclass(frozen=True)
class KeyRow:
    """What is stored of one user's key. No field opens anything by itself."""

    wrapped: bytes | None = None
    """Under the master key; None in a sealed vault."""
    master_id: str | None = None
    """Which master key; None for a row that is older than this column."""
    by_password: bytes | None = None
    by_next_password: bytes | None = None
    """While a password is changed: either opens, until the accounts have the new one."""
    by_code: bytes | None = None
    public_key: bytes | None = None
    private_key: bytes | None = None
    """Under the data key. The pair stays when a vault is unsealed: there may be boxes left to open."""
    destroyed: bool = False
    version: int = 0

    @property
    def sealed(self) -> bool:
        return self.by_password is not None


@dataclass(frozen=True)
class UserKey:
    """An open vault's key: seals, and opens also what was sealed while the vault was locked."""

    data: bytes = field(repr=False)
    private: bytes | None = field(default=None, repr=False)

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        return seal(self.data, plaintext, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Raises WrongKey."""
        if self.private is not None and box.is_box(sealed):
            return box.empty(self.private, sealed, aad)
        return unseal(self.data, sealed, aad)


class Ring(ABC):
    """Rules of `Keyring`; a store of rows makes it one."""

    def __init__(self, master: bytes, previous: bytes | None, cost: passphrase.Cost) -> None:
        self._cost = cost
        self._masters = {_id_of(each): each for each in (master, previous) if each is not None}
        self._master, self._master_id = master, _id_of(master)
        self._unlocked: dict[str, bytes] = {}

    # -- rows

    @abstractmethod
    async def _read(self, user_id: str) -> KeyRow | None: ...

    @abstractmethod
    async def _insert(self, user_id: str, row: KeyRow) -> None:
        """Nothing where there is one."""

    @abstractmethod
    async def _replace(self, user_id: str, row: KeyRow) -> bool:
        """In one step, where the stored one still has the version of `row`, which rises. False where it has not."""

    async def _scrub(self) -> None:  # noqa: B027 - a dictionary keeps nothing
        """Remove what the store may keep of rows as they were."""

    async def row(self, user_id: str) -> KeyRow:
        """Made on first use. Raises NotFound once it was destroyed."""
        found = await self._read(user_id)
        if found is None:
            wrapped = seal(self._master, new_key(), user_id.encode())
            await self._insert(user_id, KeyRow(wrapped, self._master_id))
            found = await self._read(user_id)
        if found is None or found.destroyed:
            self._unlocked.pop(user_id, None)
            raise NotFound("This account was deleted.")
        return found

    async def _change(self, user_id: str, row: KeyRow, **values: Any) -> None:
        if not await self._replace(user_id, replace(row, **values)):
            raise Conflict("The key of this vault was changed at the same moment; try again.")

    # -- for those who read and write what it seals

    async def data_key(self, user_id: str) -> bytes:
        return self._open(user_id, await self.row(user_id))

    def _open(self, user_id: str, row: KeyRow) -> bytes:
        if row.sealed:
            if user_id not in self._unlocked:
                raise VaultLocked(LOCKED)
            return self._unlocked[user_id]
        return self._by_master(user_id, row)

    def _by_master(self, user_id: str, row: KeyRow) -> bytes:
        """Raises WrongKey where no master key of ours wrapped it."""
        if row.wrapped is None:
            raise WrongKey
        named = self._masters.get(row.master_id or "")
        for master in [named] if named is not None else list(self._masters.values()):
            try:
                return unseal(master, row.wrapped, user_id.encode())
            except WrongKey:
                continue
        raise WrongKey

    async def user_key(self, user_id: str) -> UserKey:
        row = await self.row(user_id)
        key = self._open(user_id, row)
        return UserKey(key, _private(user_id, row, key))

    async def keep(self, user_id: str, plaintext: bytes, aad: bytes) -> bytes:
        row = await self.row(user_id)
        try:
            return seal(self._open(user_id, row), plaintext, aad)
        except VaultLocked:
            if row.public_key is None:
                raise
            return box.fill(row.public_key, plaintext, aad)

    async def unlock(self, user_id: str, key: bytes) -> None:
        row = await self.row(user_id)
        if _private(user_id, row, key) is None:
            raise WrongKey
        if row.sealed:
            self._unlocked[user_id] = key

    def lock(self, user_id: str) -> None:
        self._unlocked.pop(user_id, None)

    async def locked(self, user_id: str) -> bool:
        return (await self.row(user_id)).sealed and user_id not in self._unlocked

    # -- for those who ask the user

    async def seal(self, user_id: str, password: str) -> tuple[bytes, str]:
        row = await self.row(user_id)
        if row.sealed:
            raise Conflict("This vault is sealed already.")
        key, code = self._by_master(user_id, row), passphrase.new_code()
        public, private = row.public_key, row.private_key
        if public is None or private is None:
            secret, public = box.new_pair()
            private = seal(key, secret, _aad(user_id, "private key"))
        await self._change(
            user_id, row, wrapped=None, master_id=None, public_key=public, private_key=private, by_next_password=None,
            by_password=await _in_thread(passphrase.wrap, password, key, _aad(user_id, "password"), self._cost),
            by_code=passphrase.wrap_by_code(code, key, _aad(user_id, "recovery code")),
        )  # fmt: skip
        await self._scrub()
        return key, code

    async def unseal(self, user_id: str, key: bytes) -> None:
        row = _require_sealed(await self.row(user_id))
        wrapped = seal(self._master, key, user_id.encode())
        await self._change(
            user_id, row, wrapped=wrapped, master_id=self._master_id, by_password=None, by_next_password=None,
            by_code=None,
        )  # fmt: skip
        self._unlocked.pop(user_id, None)

    async def by_password(self, user_id: str, password: str, *, accepted: bool) -> bytes:
        row = _require_sealed(await self.row(user_id))
        for wrapped in (row.by_password, row.by_next_password):
            try:
                key = await _in_thread(passphrase.unwrap, password, wrapped or b"", _aad(user_id, "password"))
            except WrongKey:
                continue
            if accepted and row.by_next_password is not None:
                await self._change(user_id, row, by_password=wrapped, by_next_password=None)
                await self._scrub()
            return key
        raise WrongKey

    async def by_code(self, user_id: str, code: str) -> bytes:
        row = _require_sealed(await self.row(user_id))
        return passphrase.unwrap_by_code(code, row.by_code or b"", _aad(user_id, "recovery code"))

    async def set_password(self, user_id: str, key: bytes, password: str, *, beside: bool) -> None:
        row = _require_sealed(await self.row(user_id))
        _require_right(user_id, row, key)
        wrapped = await _in_thread(passphrase.wrap, password, key, _aad(user_id, "password"), self._cost)
        if beside:
            await self._change(user_id, row, by_next_password=wrapped)
        else:
            await self._change(user_id, row, by_password=wrapped, by_next_password=None)
            await self._scrub()

    async def settle(self, user_id: str) -> None:
        row = await self.row(user_id)
        if row.by_next_password is not None:
            await self._change(user_id, row, by_password=row.by_next_password, by_next_password=None)
            await self._scrub()

    async def new_code(self, user_id: str, key: bytes) -> str:
        row = _require_sealed(await self.row(user_id))
        _require_right(user_id, row, key)
        code = passphrase.new_code()
        await self._change(user_id, row, by_code=passphrase.wrap_by_code(code, key, _aad(user_id, "recovery code")))
        await self._scrub()
        return code

    async def destroy(self, user_id: str) -> None:
        self._unlocked.pop(user_id, None)
        await self._insert(user_id, KeyRow(destroyed=True))
        while (found := await self._read(user_id)) is not None and not found.destroyed:
            await self._replace(user_id, KeyRow(destroyed=True, version=found.version))
        await self._scrub()


LOCKED = (
    "This vault is sealed and locked, so nobody can read or write it. Unlock it with POST /vault/unlock and your"
    " password or your recovery code."
)


def _id_of(master: bytes) -> str:
    """Tells master keys apart and says nothing about them."""
    return hashlib.sha256(b"nemo master key id v1" + derive(master, "nemo master key id v1")).hexdigest()[:16]


def _aad(user_id: str, purpose: str) -> bytes:
    return f"nemo vault {purpose} v1\0{user_id}".encode()


def _private(user_id: str, row: KeyRow, key: bytes) -> bytes | None:
    """Raises WrongKey where `key` is not this user's; None where there is no pair yet."""
    return None if row.private_key is None else unseal(key, row.private_key, _aad(user_id, "private key"))


def _require_sealed(row: KeyRow) -> KeyRow:
    if not row.sealed:
        raise Conflict("This vault is not sealed.")
    return row


def _require_right(user_id: str, row: KeyRow, key: bytes) -> None:
    """Nothing is wrapped that would not open the vault."""
    if _private(user_id, row, key) is None:
        raise WrongKey


async def _in_thread(work: Any, *given: Any) -> bytes:
    made: bytes = await asyncio.get_running_loop().run_in_executor(_THREADS, work, *given)
    return made
