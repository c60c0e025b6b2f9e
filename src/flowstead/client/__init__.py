"""One client for every surface."""

from flowstead.client.client import Client, Transport

__all__ = ["Client", "Transport"]
