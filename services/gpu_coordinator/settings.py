"""What the coordinator reads."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Devices and the durable queue."""

    model_config = SettingsConfigDict(env_prefix="GPU_COORDINATOR_")

    lease_s: float = 30.0
    """Seconds without a report after which a worker counts as dead and its task is given to another."""
    retry_base_s: float = 2.0
    """Seconds before the second attempt; doubled for each further one."""
    retry_most_s: float = 300.0
    """Longest wait between two attempts, in seconds."""
    sweep_s: float = 2.0
    """Seconds between looks for expired leases."""
