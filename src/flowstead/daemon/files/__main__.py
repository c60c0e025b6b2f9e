"""`python -m flowstead.daemon.files MEGABYTES`: answers questions about tables, a JSON line each, until its pipe ends.

A question is `{number, about, ...}`, an answer `{number, answer}` or `{number, error}`. `{"stop": number}` interrupts
that question.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Any

import orjson

from flowstead.daemon.failures import class_of
from flowstead.daemon.files.work import Work
from flowstead.model.errors import FlowsteadError


def main() -> None:
    memory_mb = int(sys.argv[1])
    # Libraries may print; what they print must not get among the answers.
    questions, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    _limit_memory(memory_mb)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    work = Work(memory_mb)
    threading.Thread(target=_listen, args=(questions, waiting, work), daemon=True).start()
    import duckdb  # noqa: F401  # most questions need it, and one may be on its way

    while True:
        question = waiting.get()
        reply = orjson.dumps(_reply(work, question), option=orjson.OPT_NON_STR_KEYS) + b"\n"
        view = memoryview(reply)
        while view:
            view = view[os.write(answers, view) :]


def _listen(questions: int, waiting: queue.SimpleQueue[dict[str, Any]], work: Work) -> None:
    with os.fdopen(questions, "rb") as lines:
        for line in lines:
            message = orjson.loads(line)
            if "stop" in message:
                work.interrupt(message["stop"])
            else:
                waiting.put(message)
    os._exit(0)  # whoever asked is gone


def _reply(work: Work, question: dict[str, Any]) -> dict[str, Any]:
    number = question["number"]
    try:
        return {"number": number, "answer": work.answer(question)}
    except FlowsteadError as error:
        return {"number": number, "error": error.as_dict(), "class": class_of(error)}


def _limit_memory(megabytes: int) -> None:
    if sys.platform == "win32" or not megabytes:
        return
    import resource

    # Not the address space: files that are mapped and read in parts are no memory that anyone lacks. Twice as much,
    # because allocators reserve more than they use; what is used is watched by the daemon.
    limit = megabytes << 21
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    main()
