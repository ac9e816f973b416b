"""Locks of vaults, as the gateway turns them."""

from __future__ import annotations

import base64

from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.crypto import box
from shared.schemas.vault import DoorState, HandOver


class VaultDoors(ServiceClient):
    """A service that holds data keys."""

    async def door(self, user: Principal) -> DoorState:
        return DoorState.model_validate(await self.json("GET", "/vault-door", user=user, deadline_s=10))

    async def unlock_vault(self, user: Principal, key: bytes) -> None:
        """The key crosses sealed to the process that answers. Raises WrongKey, NotFound."""
        public = base64.b64decode((await self.door(user)).public_key)
        filled = box.fill(public, key, hand_over_info(self.service, user.user_id))
        body = HandOver(box=base64.b64encode(filled).decode()).model_dump()
        await self.json("POST", "/vault-door/open", user=user, body=body)

    async def lock_vault(self, user: Principal) -> None:
        """Closed, and the key forgotten, when it returns."""
        await self.json("POST", "/vault-door/close", user=user)


def hand_over_info(service: str, user_id: str) -> bytes:
    return f"nemo hand-over v1\0{service}\0{user_id}".encode()
