"""A flow built from a plan, that notes everything it does and kills its worker or its engine where it was told to.

The plan lies beside the workspace's notes as `plan.json`: `{"steps": [...], "kills": [...]}`. Notes are lines of one
length, so that each line knows its own number.
"""

import json
import os
import signal
import threading
from pathlib import Path

from flowstead import Flow

ROOT = Path(__file__).parent.parent
NOTES = ROOT / "notes"
PLAN = json.loads((ROOT / "plan.json").read_text())
LINE = 24
ENGINE = os.getppid()


def mark(text):
    fd = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{text:<{LINE - 1}}\n".encode())
    number = os.lseek(fd, 0, os.SEEK_CUR) // LINE
    os.close(fd)
    for kill in PLAN["kills"]:
        if kill["at"] == number:
            # A moment later is any moment of what worker and engine do next.
            threading.Timer(kill["delay"], strike, [kill["who"]]).start() if kill["delay"] else strike(kill["who"])


def strike(who):
    if who == "engine":
        if os.getppid() == ENGINE and b"driver.py" in Path(f"/proc/{ENGINE}/cmdline").read_bytes():
            os.kill(ENGINE, signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def times(text):
    return sum(line.strip() == text for line in NOTES.read_text().splitlines())


def total(value):
    return value if isinstance(value, int) else sum(value)


def step(index, fails):
    def run(context):
        mark(f"step {index}")
        if times(f"step {index}") <= fails:
            raise ValueError("not yet")
        return total(context.current or 0) + index

    run.__name__ = f"step_{index}"
    return run


def spread(index, count):
    def run(context):
        mark(f"step {index}")
        return [total(context.current or 0) + number for number in range(count)]

    run.__name__ = f"spread_{index}"
    return run


def double(index):
    def run(context, item):
        mark(f"item {index} {context._item}")
        return item * 2

    run.__name__ = f"double_{index}"
    return run


def finish(context):
    mark("finish")
    context.summary = str(total(context.current))


def build():
    flow = Flow("Killed")
    for index, plan in enumerate(PLAN["steps"]):
        options = {"use": plan["use"], "save_as": plan["save_as"], "checkpoint": plan["checkpoint"]}
        if plan["kind"] == "step":
            flow = flow.step(step(index, plan["fails"]), retries=3, retry_delay="1ms", **options)
        elif plan["kind"] == "spread":
            flow = flow.step(spread(index, plan["count"]), **options)
        else:
            flow = flow.map(double(index), workers=plan["workers"], save_as=plan["save_as"])
    return flow.step(finish)
