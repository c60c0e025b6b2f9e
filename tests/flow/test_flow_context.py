import threading
from datetime import UTC, datetime

import pytest

from flowstead import RunCancelled
from flowstead.flow.errors import PathRefused, StepFailure


def test_a_context_starts_with_what_the_run_is(make_context):
    context = make_context()
    assert (context.flow_name, context.group, context.run_id, context.attempt) == ("daily", "Sales", "r1", 2)
    assert (context.current, context.objects, context.summary) == (None, {}, None)
    assert context.params["month"] == 3
    with pytest.raises(TypeError):
        context.params["month"] = 4
    assert type(context.metadata) is dict and set(context.metadata) == {"run_id", "started_at_utc", "file_hash"}
    assert datetime.fromisoformat(context.metadata["started_at_utc"]).utcoffset().total_seconds() == 0
    assert "file_hash" not in make_context(source=None).metadata


def test_config_is_read_when_asked_and_given_as_a_copy(make_context, tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "docs.toml").write_text("\ufeff[filters]\nminimum = 5\n", encoding="utf-8")
    (folder / "empty.toml").write_text("")
    (folder / ".hidden.toml").write_text("")
    config = make_context().config
    assert config.names() == ("docs", "empty")
    assert config.require("docs") == {"filters": {"minimum": 5}}
    config.get("docs")["filters"]["minimum"] = 6
    assert config.all() == {"docs": {"filters": {"minimum": 5}}, "empty": {}}
    assert config.get("absent") is None
    with pytest.raises(StepFailure, match=r"no absent\.toml in .*Files there: docs, empty") as caught:
        config.require("absent")
    assert caught.value.code == "config-missing"
    with pytest.raises(PathRefused):
        config.get("../secrets")


@pytest.mark.parametrize(
    ("content", "place"),
    [(b'a = 1\nb = "x\nc = 2\n', "line 2,"), (b"a = 1\nb =", "line 2,"), (b"a = 1\n\nb = '\xff'\n", "line 3,")],
)
def test_bad_toml_names_file_and_line(make_context, tmp_path, content, place):
    (tmp_path / "config").mkdir()
    path = tmp_path / "config/docs.toml"
    path.write_bytes(content)
    with pytest.raises(StepFailure) as caught:
        make_context().config.get("docs")
    assert caught.value.code == "config-invalid"
    assert str(path) in caught.value.message and place in caught.value.message


def test_without_a_workspace_there_is_no_config_and_no_database(make_context):
    context = make_context(workspace_root=None)
    assert (context.config.get("docs"), context.config.names(), context.config.all()) == (None, (), {})
    with pytest.raises(StepFailure, match="no workspace"):
        context.config.require("docs")
    with pytest.raises(StepFailure) as caught:
        context.database("a.duckdb")
    assert caught.value.code == "no-workspace"


def test_a_database_path_has_its_folders_and_stays_in_databases(make_context, tmp_path):
    context = make_context()
    path = context.database("docs/db.duckdb")
    assert path == tmp_path / "databases/docs/db.duckdb" and path.parent.is_dir()
    for name in ("/tmp/a.duckdb", "../a.duckdb"):
        with pytest.raises(PathRefused, match=r"database\(relative\)"):
            context.database(name)


def test_source_metadata_is_that_of_the_file(make_context, tmp_path):
    context = make_context()
    with pytest.raises(FileNotFoundError):
        context.source_metadata()
    path = tmp_path / "in/north.csv"
    path.parent.mkdir()
    path.write_bytes(b"12345")
    facts = context.source_metadata()
    assert (facts.path, facts.name, facts.size_bytes) == (path, "north.csv", 5)
    assert facts.modified_at_utc.tzinfo is UTC
    assert facts.modified_at_utc.timestamp() == pytest.approx(path.stat().st_mtime)
    assert make_context(source=None).source_metadata() is None


def test_what_a_step_says_reaches_the_sink(make_context, sink):
    context = make_context()
    context.log("read", rows=3)
    context.log.debug("a")
    context.log.info("b")
    context.log.warning("c", level=1)
    context.log.error(ValueError("d"))
    assert sink.logged == [
        ("info", "read", {"rows": 3}), ("debug", "a", {}), ("info", "b", {}), ("warning", "c", {"level": 1}),
        ("error", "d", {}),
    ]  # fmt: skip
    context.progress(1, 10, "reading")
    context.progress(2)
    assert sink.progressed == [(1, 10, "reading"), (2, None, None)]
    assert context.secret("token") == "s3cret"
    context.check_cancelled()
    sink.cancelled = True
    with pytest.raises(RunCancelled):
        context.check_cancelled()


def test_the_idempotency_key_is_of_the_step_and_of_the_item_in_each_thread(make_context):
    context = make_context()
    context._begin_step(2)
    assert context.idempotency_key == make_context(attempt=3).idempotency_key.replace(":0", ":2") == "r1:2"
    both_set, keys = threading.Barrier(2, timeout=10), {}

    def work(item):
        context._item = item
        both_set.wait()
        keys[item] = context.idempotency_key

    threads = [threading.Thread(target=work, args=(item,)) for item in (4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys == {4: "r1:2:4", 5: "r1:2:5"}
    assert context.idempotency_key == "r1:2"


def test_collect_looks_where_it_was_told_else_at_the_source(make_context, tmp_path):
    context = make_context()
    assert context._collect_root(None) == tmp_path / "in"
    assert context._collect_root("../more") == tmp_path / "more"
    with pytest.raises(StepFailure) as caught:
        make_context(source=None)._collect_root(None)
    assert caught.value.code == "collect-no-root"
