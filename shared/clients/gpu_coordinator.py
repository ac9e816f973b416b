"""The coordinator as other services see it."""

from __future__ import annotations

from typing import Any

from shared import tracing
from shared.auth.principal import Principal
from shared.clients import ServiceClient
from shared.logging import request_id
from shared.schemas.coordinator import ClaimTask, FinishTask, Job, ReportTask, SubmitTask, Task
from shared.schemas.gpu import GpuStatus, Holder, RegisterHolder, SyncHolder
from shared.schemas.wire import Page

ORIGIN = "origin"
"""Key in the payload of a task: the request that it came from."""


class CoordinatorClient(ServiceClient):
    service = "gpu-coordinator"

    async def submit(self, request: SubmitTask) -> Task:
        """Durable when it returns. The payload also says for which request it is, so that the work can be found."""
        origin = {"request_id": request_id.get(), "traceparent": tracing.current()}
        request = request.model_copy(update={"payload": request.payload | {ORIGIN: origin}})
        return Task.model_validate(
            await self.json("POST", "/queue/task", user=None, body=request.model_dump(mode="json"))
        )

    async def claim(self, request: ClaimTask) -> Task | None:
        body = request.model_dump(mode="json")
        found = await self.json("POST", "/queue/claim", user=None, body=body, deadline_s=request.wait_s + 15)
        return None if found is None else Task.model_validate(found)

    async def report(self, task_id: str, request: ReportTask) -> Task:
        body = request.model_dump(mode="json")
        return Task.model_validate(
            await self.json("POST", f"/queue/tasks/{task_id}/report", user=None, body=body, deadline_s=10)
        )

    async def finish(self, task_id: str, request: FinishTask) -> Task:
        body = request.model_dump(mode="json")
        return Task.model_validate(
            await self.json("POST", f"/queue/tasks/{task_id}/finish", user=None, body=body, deadline_s=10)
        )

    async def tasks(self, **params: Any) -> Page[Task]:
        return Page[Task].model_validate(await self.json("GET", "/queue/tasks", user=None, params=params))

    async def task(self, task_id: str) -> Task:
        return Task.model_validate(await self.json("GET", f"/queue/tasks/{task_id}", user=None))

    async def wake_owner(self, user_id: str) -> None:
        """Tasks of the user that were put off are due now."""
        await self.json("POST", f"/queue/owner/{user_id}/wake", user=None)

    async def delete_owner(self, user_id: str) -> None:
        await self.json("DELETE", f"/queue/owner/{user_id}", user=None)

    async def jobs(self, user: Principal, **params: Any) -> Page[Job]:
        return Page[Job].model_validate(await self.json("GET", "/jobs", user=user, params=params))

    async def job(self, user: Principal, job_id: str) -> Job:
        return Job.model_validate(await self.json("GET", f"/jobs/{job_id}", user=user))

    async def cancel(self, user: Principal, job_id: str) -> Job:
        return Job.model_validate(await self.json("POST", f"/jobs/{job_id}/cancel", user=user))

    async def retry(self, user: Principal, job_id: str) -> Job:
        return Job.model_validate(await self.json("POST", f"/jobs/{job_id}/retry", user=user))

    async def gpu_status(self) -> GpuStatus:
        return GpuStatus.model_validate(await self.json("GET", "/gpu/status", user=None))

    async def register(self, holder_id: str, request: RegisterHolder) -> Holder:
        body = request.model_dump(mode="json")
        return Holder.model_validate(
            await self.json("POST", f"/gpu/holders/{holder_id}/register", user=None, body=body, deadline_s=5)
        )

    async def sync(self, holder_id: str, device_id: str, request: SyncHolder) -> Holder:
        """Raises Conflict where another speaks for the holder by now."""
        body, params = request.model_dump(mode="json"), {"device_id": device_id}
        path = f"/gpu/holders/{holder_id}/sync"
        return Holder.model_validate(await self.json("POST", path, user=None, body=body, params=params, deadline_s=5))
