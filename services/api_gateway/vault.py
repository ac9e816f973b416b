"""Sealed vaults: what the user's password opens, and nothing else does.

The password is known in two places: the accounts keep a hash of it, the keyring a data key under it. A change writes
the keyring first, where both passwords open for a moment, then the accounts; the next password that the accounts accept
is from then on the only one. So whatever is killed in between, a password that signs in opens the vault.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable

from services.api_gateway.clients import Clients
from services.api_gateway.service import Identity
from shared.auth.principal import Principal
from shared.clients.vault import VaultDoors
from shared.crypto.envelope import WrongKey
from shared.errors import Invalid, ProductError
from shared.schemas.identity import ChangePassword
from shared.schemas.problem import FieldError
from shared.schemas.vault import RecoveryCode, UnlockVault, VaultState
from shared.storage.keyring import Keyring

log = logging.getLogger(__name__)
WRONG = "The password is wrong."
EARLIER = (
    "This is the password of your account, but the vault is under an earlier one. Send the earlier one, or your"
    " recovery code together with this password, which then opens it too."
)


class VaultLocks:
    """Of all users; every method is told whose."""

    def __init__(self, keyring: Keyring, clients: Clients, identity: Identity) -> None:
        self._keyring, self._identity = keyring, identity
        self._doors: tuple[VaultDoors, ...] = (clients.rag, clients.transcription)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Whoever takes a password for the accepted one must not meet a change of it half-way."""

    async def state(self, user: Principal) -> VaultState:
        row = await self._keyring.row(user.user_id)
        doors = await asyncio.gather(*(each.door(user) for each in self._doors))
        return VaultState(
            mode="sealed" if row.sealed else "open",
            locked=any(each.locked for each in doors),
            waiting=sum(each.waiting for each in doors),
        )

    async def seal(self, user: Principal, password: str) -> RecoveryCode:
        """It stays unlocked where its services can be reached. Raises Invalid, Conflict."""
        async with self._turns[user.user_id]:
            if not await self._identity.knows(user, password):
                raise refused(WRONG)
            key, code = await self._keyring.seal(user.user_id, password)
        for door in self._doors:
            await self._handed_or_locked(door, user, key)
        return RecoveryCode(recovery_code=code)

    async def _handed_or_locked(self, door: VaultDoors, user: Principal, key: bytes) -> None:
        """What is open there from before the sealing is either known to be unlocked, or closed."""
        try:
            await door.unlock_vault(user, key)
        except ProductError as error:
            log.warning("a sealed vault could not be kept unlocked", extra={"callee": door.service, "code": error.code})
            await _quietly(door.lock_vault(user))

    async def unseal(self, user: Principal, password: str) -> None:
        """Results that wait are taken in, then the server's own key opens it again. Raises Invalid, Conflict."""
        async with self._turns[user.user_id]:
            key = await self._by_password(user, password)
            for door in self._doors:
                await _quietly(door.unlock_vault(user, key))
            await self._keyring.unseal(user.user_id, key)

    async def unlock(self, user: Principal, given: UnlockVault) -> VaultState:
        """Raises Invalid; UpstreamUnavailable where a service cannot be told, which stays locked then."""
        async with self._turns[user.user_id]:
            if given.recovery_code is None:
                key = await self._by_password(user, given.password or "")
            else:
                key = await self._by_code(user, given.recovery_code, given.password)
        await self._hand_over(user, key)
        return await self.state(user)

    async def _hand_over(self, user: Principal, key: bytes) -> None:
        done = await asyncio.gather(*(each.unlock_vault(user, key) for each in self._doors), return_exceptions=True)
        for each in done:
            if each is not None:
                raise each

    async def _by_password(self, user: Principal, password: str) -> bytes:
        accepted = await self._identity.knows(user, password)
        try:
            return await self._keyring.by_password(user.user_id, password, accepted=accepted)
        except WrongKey:
            raise refused(EARLIER if accepted else WRONG) from None

    async def _by_code(self, user: Principal, code: str, password: str | None) -> bytes:
        """With the account's password the vault is under that one from now on."""
        try:
            key = await self._keyring.by_code(user.user_id, code)
        except WrongKey:
            raise refused("The recovery code is wrong.", "/recovery_code") from None
        if password is not None:
            if not await self._identity.knows(user, password):
                raise refused(WRONG)
            await self._keyring.set_password(user.user_id, key, password, beside=False)
        return key

    async def lock(self, user: Principal) -> VaultState:
        """Raises UpstreamUnavailable where a service cannot be told; the other one is locked all the same."""
        done = await asyncio.gather(*(each.lock_vault(user) for each in self._doors), return_exceptions=True)
        for each in done:
            if each is not None:
                raise each
        return await self.state(user)

    async def new_code(self, user: Principal, password: str) -> RecoveryCode:
        """The one before opens nothing any more. Raises Invalid, Conflict."""
        async with self._turns[user.user_id]:
            key = await self._by_password(user, password)
            return RecoveryCode(recovery_code=await self._keyring.new_code(user.user_id, key))

    # -- with the account

    async def signed_in(self, username: str, password: str) -> None:
        """Who signs in with the password has unlocked the vault; where that fails, it stays locked and says so."""
        row = self._identity.accounts.with_name(username)
        if row is not None:
            await _quietly(self._open(Principal(row["id"], row["role"]), password))

    async def _open(self, user: Principal, password: str) -> None:
        row = await self._keyring.row(user.user_id)
        if not row.sealed or (row.by_next_password is None and not (await self.state(user)).locked):
            return
        async with self._turns[user.user_id]:  # the password may have been changed since it was looked at
            key = await self._by_password(user, password)
        await self._hand_over(user, key)

    async def change_password(self, user: Principal, change: ChangePassword) -> None:
        """Of the account and the sealed vault. A vault that is under an earlier password stays under that one."""
        async with self._turns[user.user_id]:
            await self._identity.check_change(user, change)
            wrapped = await self._wrapped_beside(user, change)
            await self._identity.change_password(user, change)
            if wrapped:  # the password is changed by now; what fails here is done at the next unlocking
                await _quietly(self._keyring.settle(user.user_id))

    async def _wrapped_beside(self, user: Principal, change: ChangePassword) -> bool:
        if not (await self._keyring.row(user.user_id)).sealed:
            return False
        try:
            key = await self._keyring.by_password(user.user_id, change.current_password, accepted=True)
        except WrongKey:
            return False
        await self._keyring.set_password(user.user_id, key, change.new_password, beside=True)
        return True


async def _quietly(work: Awaitable[object]) -> None:
    """What may fail without harm: then a vault stays as locked as it was."""
    try:
        await work
    except ProductError as error:
        log.info("a lock was not turned", extra={"code": error.code})


def refused(detail: str, pointer: str = "/password") -> Invalid:
    """What was typed is wrong, and where."""
    return Invalid(detail, errors=[FieldError(pointer=pointer, detail="wrong")])
