"""The lock of one's own vault."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from services.api_gateway.routes import PROBLEMS, TheIdentity, TheWitness
from services.api_gateway.vault import VaultLocks
from shared.auth.dependencies import CurrentUser
from shared.auth.principal import Principal
from shared.schemas.vault import RecoveryCode, UnlockVault, VaultPassword, VaultState

router = APIRouter(prefix="/vault", tags=["vault"], responses=PROBLEMS)


async def the_locks(request: Request) -> VaultLocks:
    locks: VaultLocks = request.app.state.vault_locks
    return locks


async def who_may_guess(request: Request, user: CurrentUser, identity: TheIdentity) -> Principal:
    """The user; passwords and codes are tried no oftener than at the sign-in. Raises RateLimited."""
    await identity.limit_sign_in(request, user.user_id)
    return user


TheLocks = Annotated[VaultLocks, Depends(the_locks)]
Guessing = Annotated[Principal, Depends(who_may_guess)]


@router.get("")
async def state(user: CurrentUser, locks: TheLocks) -> VaultState:
    """Whether only you can open it, and whether it is open now."""
    return await locks.state(user)


@router.post("/seal", status_code=201)
async def seal(given: VaultPassword, user: Guessing, locks: TheLocks, witness: TheWitness) -> RecoveryCode:
    """From now on only your password and this recovery code open the vault. Keep the code: it is shown this once."""
    code = await locks.seal(user, given.password)
    await witness("vault_sealed", actor=user.user_id, subject=user.user_id)
    return code


@router.post("/unseal", status_code=204)
async def unseal(given: VaultPassword, user: Guessing, locks: TheLocks, witness: TheWitness) -> None:
    """The server opens the vault by itself again."""
    await locks.unseal(user, given.password)
    await witness("vault_unsealed", actor=user.user_id, subject=user.user_id)


@router.post("/unlock")
async def unlock(given: UnlockVault, user: Guessing, locks: TheLocks) -> VaultState:
    """Until it is locked or the server restarts. Signing in with the password does the same.

    Forgotten password: the recovery code together with the account's new password, which opens the vault from then on.
    """
    return await locks.unlock(user, given)


@router.post("/lock")
async def lock(user: CurrentUser, locks: TheLocks) -> VaultState:
    """Nobody reads or writes it until it is unlocked: 423. Background work waits, its results are kept sealed."""
    return await locks.lock(user)


@router.post("/recovery", status_code=201)
async def recovery(given: VaultPassword, user: Guessing, locks: TheLocks, witness: TheWitness) -> RecoveryCode:
    """A new recovery code; the one before opens nothing any more."""
    code = await locks.new_code(user, given.password)
    await witness("recovery_code_made", actor=user.user_id, subject=user.user_id)
    return code
