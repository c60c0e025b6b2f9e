"""One client for every surface."""

from typing import TYPE_CHECKING

from flowstead.client.client import Client, Transport

if TYPE_CHECKING:
    from flowstead.client.machine_client import MachineClient, connect

__all__ = ["Client", "MachineClient", "Transport", "connect"]


def __getattr__(name: str) -> object:
    # Commands that need no daemon need not load what speaks HTTP.
    if name not in ("MachineClient", "connect"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flowstead.client import machine_client

    return getattr(machine_client, name)
