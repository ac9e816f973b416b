"""The twin in memory keeps the contract."""

from __future__ import annotations

import pytest

from services.gpu_coordinator.memory import MemoryTaskStore
from tests.unit.gpu_coordinator.contract import QUICK, TaskStoreContract


class TestMemoryTaskStore(TaskStoreContract):
    @pytest.fixture
    def store(self) -> MemoryTaskStore:
        return MemoryTaskStore(QUICK)
