"""For administrators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from services.api_gateway.audit import AuditLog
from services.api_gateway.routes import PROBLEMS, Limit
from shared.auth.dependencies import AdminUser
from shared.schemas.identity import AuditPage, BackupRecord, Backups
from shared.storage import backup_records

router = APIRouter(prefix="/admin", tags=["admin"], responses=PROBLEMS)


@router.get("/audit")
async def audit(
    admin: AdminUser,
    request: Request,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(pattern=r"^\d{1,15}$")] = None,
) -> AuditPage:
    """Who did what to accounts, sessions and tokens, the newest first; `verified` says whether all of it is genuine."""
    log: AuditLog = request.app.state.audit
    return await log.page(limit, int(cursor) if cursor is not None else None)


@router.get("/backups")
async def backups(admin: AdminUser, request: Request) -> Backups:
    """When this platform was last backed up, and when a backup was last proven to restore."""
    found = backup_records.read(request.app.state.settings.data_dir)
    told = {
        what: _told(each)
        for what, each in found.items()
        if what in Backups.model_fields and isinstance(each, dict) and "at" in each
    }
    return Backups.model_validate(told)


def _told(record: dict[str, Any]) -> BackupRecord:
    """Without folders, which are nobody's business but the operator's."""
    return BackupRecord(at=record["at"], archive=Path(str(record.get("archive", ""))).name)
