"""Users, sessions and tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Form, Request, Response

from services.api_gateway.clients import Clients
from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services, TheIdentity, TheWitness, Witness
from services.api_gateway.service import TICKET_S, Identity, RefreshReused
from services.api_gateway.vault import WRONG, refused
from shared.auth.dependencies import AdminUser, CurrentUser, PublicRoute
from shared.errors import Forbidden, Unauthenticated
from shared.schemas.identity import (
    AccessToken,
    AccessTokenCreated,
    ChangePassword,
    Credentials,
    DeleteAccount,
    EditUser,
    NewAccessToken,
    RefreshRequest,
    Register,
    Registered,
    Session,
    Ticket,
    TokenPair,
    User,
)
from shared.schemas.wire import Page
from shared.telemetry import here

router = APIRouter(prefix="/auth", tags=["identity"], responses=PROBLEMS)
COOKIE = "nemo_refresh"


@router.post("/register", status_code=201, dependencies=[PublicRoute])
async def register(new: Register, request: Request, identity: TheIdentity, witness: TheWitness) -> Registered:
    """Make an account. The first user of a new server becomes its administrator."""
    await identity.limit_sign_in(request, new.username)
    user = await identity.register(new)
    await witness("registered", actor=user.id, subject=user.id, role=user.role)
    return Registered(user=user)


@router.post("/login", dependencies=[PublicRoute])
async def login(
    credentials: Credentials, request: Request, response: Response, identity: TheIdentity, witness: TheWitness
) -> TokenPair:
    """Sign in, which unlocks a sealed vault. With `cookie: true` the refresh token comes as an HttpOnly cookie."""
    pair = await _signed_in(credentials.username, credentials.password, request, identity, witness)
    return _with_cookie(pair, request, response, identity) if credentials.cookie else pair


@router.post("/token", dependencies=[PublicRoute])
async def token(
    request: Request,
    identity: TheIdentity,
    witness: TheWitness,
    username: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> TokenPair:
    """Sign in by an OAuth2 password form, for generated clients."""
    return await _signed_in(username, password, request, identity, witness)


async def _signed_in(username: str, password: str, request: Request, identity: Identity, witness: Witness) -> TokenPair:
    """Raises RateLimited, Unauthenticated."""
    await identity.limit_sign_in(request, username)
    user_id = identity.id_of(username)
    try:
        pair = await identity.login(username, password, request.headers.get("user-agent"))
    except Unauthenticated:
        here().count("nemo_sign_ins_total", outcome="refused")
        await witness("sign_in_refused", subject=user_id)
        raise
    here().count("nemo_sign_ins_total", outcome="ok")
    await witness("signed_in", actor=user_id, subject=user_id)
    await request.app.state.vault_locks.signed_in(username, password)
    return pair


@router.post("/refresh", dependencies=[PublicRoute])
async def refresh(
    body: RefreshRequest,
    request: Request,
    response: Response,
    identity: TheIdentity,
    witness: TheWitness,
    nemo_refresh: Annotated[str | None, Cookie()] = None,
) -> TokenPair:
    """A new pair for a refresh token; each is good once."""
    if body.refresh_token is not None:
        return await _refreshed(body.refresh_token, identity, witness)
    if nemo_refresh is None:
        raise Unauthenticated
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("The cookie is for the server's own page only.")
    return _with_cookie(await _refreshed(nemo_refresh, identity, witness), request, response, identity)


async def _refreshed(token: str, identity: Identity, witness: Witness) -> TokenPair:
    """Raises Unauthenticated; a token that was shown before has ended its session then."""
    try:
        return await identity.refresh(token)
    except RefreshReused as reused:
        await witness("refresh_token_reused", subject=reused.session_id)
        raise


def _with_cookie(pair: TokenPair, request: Request, response: Response, identity: Identity) -> TokenPair:
    response.set_cookie(
        COOKIE,
        pair.refresh_token or "",
        max_age=request.app.state.settings.refresh_life_s,
        path="/auth",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return pair.model_copy(update={"refresh_token": None})


@router.post("/logout", status_code=204)
async def logout(user: CurrentUser, identity: TheIdentity, response: Response, witness: TheWitness) -> None:
    """End this session; its tokens are refused from now on."""
    await identity.logout(user)
    await witness("signed_out", actor=user.user_id, subject=user.session_id)
    response.delete_cookie(COOKIE, path="/auth")


@router.get("/me")
async def me(user: CurrentUser, identity: TheIdentity) -> User:
    return identity.me(user)


@router.delete("/me", status_code=204)
async def delete_me(
    body: DeleteAccount,
    request: Request,
    response: Response,
    user: CurrentUser,
    identity: TheIdentity,
    services: Services,
    witness: TheWitness,
) -> None:
    """One's own account and all it owns, for good. 422 for a wrong password, 409 for the last administrator."""
    await identity.limit_sign_in(request, user.user_id)
    if not await identity.knows(user, body.password):
        raise refused(WRONG)
    await _erase(user.user_id, request, identity, services)
    await witness("user_deleted", actor=user.user_id, subject=user.user_id)
    response.delete_cookie(COOKIE, path="/auth")


@router.post("/password", status_code=204)
async def password(
    change: ChangePassword, request: Request, user: CurrentUser, identity: TheIdentity, witness: TheWitness
) -> None:
    """Change the password, of a sealed vault too; every other session ends."""
    await identity.limit_sign_in(request, user.user_id)
    await request.app.state.vault_locks.change_password(user, change)
    await witness("password_changed", actor=user.user_id, subject=user.user_id)


@router.get("/sessions")
async def sessions(user: CurrentUser, identity: TheIdentity) -> Page[Session]:
    """Where this account is signed in, the last used first."""
    return Page(data=identity.sessions(user))


@router.delete("/sessions/{device_id}", status_code=204)
async def end_session(device_id: str, user: CurrentUser, identity: TheIdentity, witness: TheWitness) -> None:
    """Sign a device out: its tokens are good for nothing at once, and its sockets close within a second."""
    await identity.accounts.end_own_session(user.user_id, device_id)
    await witness("session_ended", actor=user.user_id, subject=device_id)


@router.get("/tokens")
async def tokens(user: CurrentUser, identity: TheIdentity) -> Page[AccessToken]:
    return Page(data=identity.accounts.tokens(user.user_id))


@router.post("/tokens", status_code=201)
async def make_token(
    new: NewAccessToken, user: CurrentUser, identity: TheIdentity, witness: TheWitness
) -> AccessTokenCreated:
    """A personal token for scripts; it is shown this once."""
    made = await identity.make_token(user, new)
    await witness("token_made", actor=user.user_id, subject=made.id, scopes=" ".join(made.scopes))
    return made


@router.delete("/tokens/{token_id}", status_code=204)
async def delete_token(token_id: str, user: CurrentUser, identity: TheIdentity, witness: TheWitness) -> None:
    await identity.accounts.delete_token(user.user_id, token_id)
    await witness("token_deleted", actor=user.user_id, subject=token_id)


@router.post("/ticket", status_code=201)
async def ticket(user: CurrentUser, identity: TheIdentity) -> Ticket:
    """A one-use ticket for a WebSocket."""
    return Ticket(ticket=await identity.ticket(user), expires_in=TICKET_S)


@router.get("/users")
async def users(admin: AdminUser, identity: TheIdentity, limit: Limit = 50, cursor: Cursor = None) -> Page[User]:
    found = identity.accounts.users(limit + 1, cursor)
    more = len(found) > limit
    return Page(data=found[:limit], next_cursor=found[limit - 1].id if more else None, has_more=more)


@router.get("/users/{user_id}")
async def user(user_id: str, admin: AdminUser, identity: TheIdentity) -> User:
    return identity.accounts.user(user_id)


@router.patch("/users/{user_id}")
async def edit_user(
    user_id: str, change: EditUser, admin: AdminUser, identity: TheIdentity, witness: TheWitness
) -> User:
    """Role or disabled; the user's sessions end."""
    changed = await identity.edit_user(user_id, change)
    said = {name: str(value).lower() for name, value in change.model_dump(exclude_none=True).items()}
    await witness("user_changed", actor=admin.user_id, subject=user_id, **said)
    return changed


@router.delete("/users/{user_id}", status_code=204)
async def delete_user(
    user_id: str,
    admin: AdminUser,
    identity: TheIdentity,
    services: Services,
    request: Request,
    witness: TheWitness,
) -> None:
    """The account and everything it owns."""
    await _erase(user_id, request, identity, services)
    await witness("user_deleted", actor=admin.user_id, subject=user_id)


async def _erase(user_id: str, request: Request, identity: Identity, services: Clients) -> None:
    """The key first: whatever a crash leaves cannot be read. Raises Conflict for the last administrator."""
    identity.refuse_last_admin(user_id)
    await identity.edit_user(user_id, EditUser(disabled=True))
    await request.app.state.keyring.destroy(user_id)
    await services.coordinator.delete_owner(user_id)
    await services.transcription.delete_owner(user_id)
    await services.rag.delete_owner(user_id)
    await identity.accounts.delete_user(user_id)
