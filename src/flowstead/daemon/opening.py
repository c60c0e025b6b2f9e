"""The application while it is being loaded.

To import what the API is made of takes most of the time in which a daemon starts. Meanwhile this one says that the
daemon is there; any other request waits.
"""

from __future__ import annotations

import asyncio
import os
import typing
from typing import TYPE_CHECKING, Any

import orjson

from flowstead.client.finding import DaemonInfo
from flowstead.daemon.security import HEADERS, Security
from flowstead.model.errors import FlowsteadError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from flowstead.daemon.app import App

SECONDS_BETWEEN_LOOKS = 0.01


class OpeningApp:
    """Stands for the application from before it is there; `app` is set, from any thread, once it is."""

    def __init__(self, info: DaemonInfo, security: Security) -> None:
        self.security = security
        self.app: App | None = None
        self._info = info

    def close_streams(self) -> None:
        """Cuts off the streams that are open."""
        if self.app is not None:
            self.app.close_streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is None and self._asks_for_health(typing.cast("dict[str, Any]", scope)):
            await self._tell_health(send)
            return
        while self.app is None:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        await self.app(scope, receive, send)

    def _asks_for_health(self, scope: dict[str, Any]) -> bool:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("GET", "/api/v1/health"):
            return False
        if scope.get("state", {}).get("own_user"):
            return True
        try:
            self.security.check(scope)
        except FlowsteadError:
            return False  # the application itself says why
        return True

    async def _tell_health(self, send: Send) -> None:
        body = orjson.dumps(
            {
                "status": "ok",
                "version": self._info.version,
                "pid": os.getpid(),
                "started_at": self._info.started_at,
                "workspaces": [],
            }
        )
        headers = {**HEADERS, "content-type": "application/json", "content-length": str(len(body))}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": body})
