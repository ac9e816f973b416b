"""Users, sessions and tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Form, Request, Response

from services.api_gateway.routes import PROBLEMS, Cursor, Limit, Services, TheIdentity
from services.api_gateway.service import TICKET_S, Identity
from shared.auth.dependencies import AdminUser, CurrentUser, PublicRoute
from shared.errors import Forbidden, Unauthenticated
from shared.schemas.identity import (
    AccessToken,
    AccessTokenCreated,
    ChangePassword,
    Credentials,
    EditUser,
    NewAccessToken,
    RefreshRequest,
    Register,
    Registered,
    Ticket,
    TokenPair,
    User,
)
from shared.schemas.wire import Page

router = APIRouter(prefix="/auth", tags=["identity"], responses=PROBLEMS)
COOKIE = "nemo_refresh"


@router.post("/register", status_code=201, dependencies=[PublicRoute])
async def register(new: Register, request: Request, identity: TheIdentity) -> Registered:
    """Make an account. The first user of a new server becomes its administrator."""
    await identity.limit_sign_in(request, new.username)
    return Registered(user=await identity.register(new))


@router.post("/login", dependencies=[PublicRoute])
async def login(credentials: Credentials, request: Request, response: Response, identity: TheIdentity) -> TokenPair:
    """Sign in, which unlocks a sealed vault. With `cookie: true` the refresh token comes as an HttpOnly cookie."""
    await identity.limit_sign_in(request, credentials.username)
    pair = await identity.login(credentials.username, credentials.password)
    await request.app.state.vault_locks.signed_in(credentials.username, credentials.password)
    return _with_cookie(pair, request, response, identity) if credentials.cookie else pair


@router.post("/token", dependencies=[PublicRoute])
async def token(
    request: Request, identity: TheIdentity, username: Annotated[str, Form()], password: Annotated[str, Form()]
) -> TokenPair:
    """Sign in by an OAuth2 password form, for generated clients."""
    await identity.limit_sign_in(request, username)
    pair = await identity.login(username, password)
    await request.app.state.vault_locks.signed_in(username, password)
    return pair


@router.post("/refresh", dependencies=[PublicRoute])
async def refresh(
    body: RefreshRequest,
    request: Request,
    response: Response,
    identity: TheIdentity,
    nemo_refresh: Annotated[str | None, Cookie()] = None,
) -> TokenPair:
    """A new pair for a refresh token; each is good once."""
    if body.refresh_token is not None:
        return await identity.refresh(body.refresh_token)
    if nemo_refresh is None:
        raise Unauthenticated
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("The cookie is for the server's own page only.")
    return _with_cookie(await identity.refresh(nemo_refresh), request, response, identity)


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
async def logout(user: CurrentUser, identity: TheIdentity, response: Response) -> None:
    """End this session; its tokens are refused from now on."""
    await identity.logout(user)
    response.delete_cookie(COOKIE, path="/auth")


@router.get("/me")
async def me(user: CurrentUser, identity: TheIdentity) -> User:
    return identity.me(user)


@router.post("/password", status_code=204)
async def password(change: ChangePassword, request: Request, user: CurrentUser, identity: TheIdentity) -> None:
    """Change the password, of a sealed vault too; every other session ends."""
    await identity.limit_sign_in(request, user.user_id)
    await request.app.state.vault_locks.change_password(user, change)


@router.get("/tokens")
async def tokens(user: CurrentUser, identity: TheIdentity) -> Page[AccessToken]:
    return Page(data=identity.accounts.tokens(user.user_id))


@router.post("/tokens", status_code=201)
async def make_token(new: NewAccessToken, user: CurrentUser, identity: TheIdentity) -> AccessTokenCreated:
    """A personal token for scripts; it is shown this once."""
    return await identity.make_token(user, new)


@router.delete("/tokens/{token_id}", status_code=204)
async def delete_token(token_id: str, user: CurrentUser, identity: TheIdentity) -> None:
    await identity.accounts.delete_token(user.user_id, token_id)


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
async def edit_user(user_id: str, change: EditUser, admin: AdminUser, identity: TheIdentity) -> User:
    """Role or disabled; the user's sessions end."""
    return await identity.edit_user(user_id, change)


@router.delete("/users/{user_id}", status_code=204)
async def delete_user(
    user_id: str, admin: AdminUser, identity: TheIdentity, services: Services, request: Request
) -> None:
    """The account and everything it owns. Its key is destroyed first: whatever a crash leaves cannot be read."""
    identity.refuse_last_admin(user_id)
    await identity.edit_user(user_id, EditUser(disabled=True))
    await request.app.state.keyring.destroy(user_id)
    await services.coordinator.delete_owner(user_id)
    await services.transcription.delete_owner(user_id)
    await services.rag.delete_owner(user_id)
    await identity.accounts.delete_user(user_id)
