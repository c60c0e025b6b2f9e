"""Takes in a request whose body is a file: piece by piece, never more of it in memory than one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.requests import ClientDisconnect, Request

from flowstead.daemon.routes.route import Receiver
from flowstead.model.errors import UsageError

PIECE = 512 * 1024


def allow_any_size(request: Request) -> None:
    """Tells the door and the server's connection that this body may be large and take long."""
    request.scope.setdefault("state", {})["receives"] = True


def is_receiving(scope: Any) -> bool:
    """Whether `allow_any_size` was told of this request."""
    return bool((scope or {}).get("state", {}).get("receives"))


async def receive(request: Request, begin: Callable[[], Receiver], limiter: CapacityLimiter) -> Any:
    """Gives a request's body to the receiver that `begin` makes; what it answers. Disk work is done in threads.

    A body that breaks off leaves nothing. Raises what the receiver raises.
    """
    allow_any_size(request)
    receiver = await anyio.to_thread.run_sync(begin, limiter=limiter)
    try:
        pieces: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            pieces.append(chunk)
            size += len(chunk)
            if size >= PIECE:
                await anyio.to_thread.run_sync(receiver.write, b"".join(pieces), limiter=limiter)
                pieces, size = [], 0
        if size:
            await anyio.to_thread.run_sync(receiver.write, b"".join(pieces), limiter=limiter)
        return await anyio.to_thread.run_sync(receiver.finish, limiter=limiter)
    except ClientDisconnect:
        await anyio.to_thread.run_sync(receiver.abort, limiter=limiter)
        raise UsageError("The connection broke off.", code="upload-broken", hint="Send the file again.") from None
    except Exception:
        await anyio.to_thread.run_sync(receiver.abort, limiter=limiter)
        raise
    except BaseException:
        # The server ends, and nothing of it waits for threads any more.
        receiver.abort()
        raise
