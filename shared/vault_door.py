"""A service's side of the lock of a vault: the key comes in, stays in the memory of this process, and goes.

Only the gateway may turn it. A key crosses sealed to a pair that lives as long as the process (HPKE, RFC 9180), so that
neither a line that is listened to nor a log of requests holds it.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from shared.auth.dependencies import FromService
from shared.clients.vault import hand_over_info
from shared.crypto import box
from shared.crypto.envelope import WrongKey
from shared.errors import Forbidden
from shared.schemas.vault import DoorState, HandOver
from shared.storage.keyring import Keyring

OfUser = Callable[[str], Awaitable[None]]
router = APIRouter(prefix="/vault-door")


class VaultDoor:
    """Kept in `app.state.vault_door`."""

    def __init__(
        self,
        service: str,
        keyring: Keyring,
        *,
        opened: OfUser,
        closed: OfUser,
        waiting: Callable[[str], Awaitable[int]],
    ) -> None:
        """`opened` and `closed` are told of a user after the key came, and after it went."""
        self._service, self._keyring = service, keyring
        self._opened, self._closed, self._waiting = opened, closed, waiting
        self._private, self._public = box.new_pair()

    async def state(self, user_id: str) -> DoorState:
        return DoorState(
            locked=await self._keyring.locked(user_id),
            waiting=await self._waiting(user_id),
            public_key=base64.b64encode(self._public).decode(),
        )

    async def unlock(self, user_id: str, sealed: str) -> None:
        """Raises WrongKey where it was not sealed to this process, or is another vault's key."""
        try:
            filled = base64.b64decode(sealed, validate=True)
        except ValueError as error:
            raise WrongKey from error
        key = box.empty(self._private, filled, hand_over_info(self._service, user_id))
        await self._keyring.unlock(user_id, key)
        await self._opened(user_id)

    async def lock(self, user_id: str) -> None:
        self._keyring.lock(user_id)
        await self._closed(user_id)


async def the_door(request: Request) -> VaultDoor:
    door: VaultDoor = request.app.state.vault_door
    return door


async def turned_by_gateway(caller: FromService) -> str:
    """The user for whom the gateway calls; no other service has a say in this."""
    if caller.service != "api-gateway" or caller.user is None:
        raise Forbidden("Only the gateway may turn the lock of a vault.")
    return caller.user.user_id


TheDoor = Annotated[VaultDoor, Depends(the_door)]
Whose = Annotated[str, Depends(turned_by_gateway)]


@router.get("")
async def state(user_id: Whose, door: TheDoor) -> DoorState:
    return await door.state(user_id)


@router.post("/open", status_code=204)
async def open_(given: HandOver, user_id: Whose, door: TheDoor) -> None:
    await door.unlock(user_id, given.box)


@router.post("/close", status_code=204)
async def close(user_id: Whose, door: TheDoor) -> None:
    await door.lock(user_id)
