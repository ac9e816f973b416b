"""Devices, leases and the durable task queue."""
