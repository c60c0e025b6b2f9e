"""A run's id: a UUID of version 7 that keeps the order in which ids were made."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowstead.model.run import new_run_id


def test_an_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_run_id().removeprefix("r_"))
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after + 1


def test_ids_keep_their_order_within_a_millisecond_and_between_threads() -> None:
    ids = [new_run_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))
    with ThreadPoolExecutor(8) as threads:
        many = list(threads.map(lambda _: [new_run_id() for _ in range(500)], range(16)))
    assert all(each == sorted(each) for each in many)
    assert len({run_id for each in many for run_id in each}) == 8000


def test_a_clock_that_is_set_back_does_not_turn_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_run_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert new_run_id() > first
