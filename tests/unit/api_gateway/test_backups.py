"""What an administrator is told of backups: when, never where; damaged records count as none."""

from __future__ import annotations

from pathlib import Path

from shared.storage import backup_records
from tests.gateway_house import bearer, gateway, join, settings_for, started


async def test_when_and_not_where(tmp_path: Path) -> None:
    async with started(gateway(settings_for(tmp_path))) as http:
        admin, user = await join(http, "admin"), await join(http, "user")
        assert (await http.get("/admin/backups", headers=bearer(user))).status_code == 403
        never = {"made": None, "verified": None, "drilled": None}
        assert (await http.get("/admin/backups", headers=bearer(admin))).json() == never
        backup_records.write(tmp_path, "made", archive="/srv/secret-place/nemo-1.backup", bytes=7)
        backup_records.write(tmp_path, "drilled", archive="/srv/secret-place/nemo-1.backup", counts={"recordings": 3})
        answer = await http.get("/admin/backups", headers=bearer(admin))
        found = answer.json()
        assert found["made"]["archive"] == found["drilled"]["archive"] == "nemo-1.backup"
        assert found["verified"] is None and found["made"]["at"] <= found["drilled"]["at"]
        assert "secret-place" not in answer.text and "counts" not in answer.text
        (tmp_path / backup_records.FILE).write_text("{half of")
        assert (await http.get("/admin/backups", headers=bearer(admin))).json() == never
