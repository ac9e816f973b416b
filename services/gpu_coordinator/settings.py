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
    devices: str = "auto"
    """Devices looked after: auto (the host and every GPU that nvidia-smi lists), cpu (the host only), or
    fake:<file> (a device that exists in a file; for tests only)."""
    node: str = ""
    """Name of this machine in the names of its devices. Empty: its host name."""
    holder_lease_s: float = 15.0
    """Seconds without a word after which a model's holder counts as lost; it lets go of the memory before."""
    park_s: float = 10.0
    """Seconds that a model has for leaving the memory; then its process is killed."""
    wake_s: float = 60.0
    """Seconds that a model has at least for coming into the memory; then its process is killed and it begins again.
    Five times what it took of late where that is more."""
    linger_s: float = 3.0
    """Quiet time after the last chat before background work goes on, in seconds."""
    starve_s: float = 300.0
    """Seconds that background work waits at most before it gets a turn of its own."""
    quantum_s: float = 20.0
    """Length of that turn, in seconds."""
    swaps_per_minute: int = 20
    """Changes of residence for background work per minute and device; beyond that it waits, with an alarm."""
    verify_s: float = 30.0
    """Seconds that a killed process's memory has for coming back; then that memory is given to nobody."""
    keep_days: float = 30.0
    """Days that finished tasks are kept for looking back; failed ones stay until they are retried."""
