"""Checkpoints: what comes back is exactly what was stored, or nothing; and nothing half-written stays."""

import dataclasses
import datetime
import decimal
import enum
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstead import Batch, FileRef
from flowstead.flow.batch import ItemResult
from flowstead.flow.loading import load_module
from flowstead.worker import checkpoints
from flowstead.worker.checkpoints import CheckpointDamaged, intact, load, save


def back(value, folder: Path, *, allowance: float | None = None):
    """`value` after a way through its checkpoint, as a later process would get it."""
    saved = save(value, folder, "step-0", allowance=allowance)
    assert saved is not None, f"{value!r} was not stored"
    told = json.loads(json.dumps(saved))
    assert intact(told, folder)
    return load(told, folder)


def same(one, other) -> bool:
    """Equal, and of the same types all the way down; NaN is NaN and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (
            math.isnan(other) if math.isnan(one) else (one, math.copysign(1, one)) == (other, math.copysign(1, other))
        )
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(*keys) and same(one[keys[0]], other[keys[1]]) for keys in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and (one == other or any(each != each for each in one))
    return one == other


class Colour(enum.Enum):
    RED = 1


class Count(enum.IntEnum):
    ONE = 1


class Name(str):
    pass


@dataclasses.dataclass(frozen=True)
class Place:
    name: str
    at: tuple[float, float]


any_text = st.text(st.characters(), max_size=20)  # half surrogate pairs too
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**1990, 2**2010)
    | st.floats()
    | any_text
    | st.binary(max_size=50)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from([Colour.RED, Count.ONE, Name("a"), 2**4000, Place("x", (1.0, 2.0)), range(3), ...])
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(any_text, inner, max_size=5),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.integers() | st.booleans(), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(st.integers() | any_text | st.floats(), max_size=4)
    ),
)


@given(plain | anything)
@settings(max_examples=400, deadline=None)
def test_values_come_back_exactly(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("run")
    assert same(back(value, folder), value)
    for each in (folder / "checkpoints").glob("*.part"):
        raise AssertionError(each)


@given(plain)
@settings(max_examples=200, deadline=None)
def test_inline_values_are_small_ascii_json(value):
    text = checkpoints.inline(value)
    if text is not None:
        assert len(text) <= checkpoints.SMALL and text.isascii()
        assert same(json.loads(text, parse_constant=pytest.fail), value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        10**5000,
        -(2**2001),
        "\udc80",
        {"": {"nested": [1, [2, [3.5, None, True]]]}},
        [[]] * 1000,
        "x" * 100_000,
        list(range(5000)),
        {1: "int key", "1": "text key", None: "no key"},
        b"\0\xff" * 1000,
        bytearray(b"x"),
        {(1, 2): {3}},
        Count.ONE,
        Name("a"),
        Place("x", (1.0, -0.0)),
        Batch([FileRef("/in/a.csv"), FileRef("/in/b.csv")]),
        Batch([]),
        FileRef("/in/a.csv"),
        ItemResult(3, "item", {"a": (1,)}, None),
        datetime.date(2026, 3, 1),
        decimal.Decimal("1.10"),
        Path("missing/out.csv"),
        PurePosixPath("some/name"),
        NotImplemented,
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_odd_ones_come_back_too(tmp_path, value):
    found = back(value, tmp_path)
    assert same(found, value)


def test_lists_within_lists_beyond_any_limit_are_stored_or_not_but_never_raise(tmp_path):
    for depth in (40, 60, 400, 100_000):
        value: list = []
        for _ in range(depth):
            value = [value]
        saved = save(value, tmp_path, "deep", allowance=None)
        if saved is not None:
            found, levels = load(saved, tmp_path), 0
            while found:
                found, levels = found[0], levels + 1
            assert levels == depth
        else:
            assert depth > 100
        while value:  # taken apart by hand: freeing it is recursive too
            value = value.pop()
    loop: list = []
    loop.append(loop)
    found = back(loop, tmp_path)
    assert found[0] is found


# -- data frames ------------------------------------------------------------------------------------------------


def polars_frames():
    import polars as pl

    day = datetime.datetime(2026, 3, 29, 1, 30, tzinfo=datetime.UTC)
    rich = pl.DataFrame(
        {
            "i": [1, None, -3],
            "f": [0.5, float("nan"), None],
            "s": ["ä", None, ""],
            "b": [b"\0", b"", None],
            "at": [day, None, day],
            "day": [day.date()] * 3,
            "l": [[1, 2], [], None],
            "st": [{"x": 1, "y": "a"}, {"x": None, "y": None}, None],
            "d": [decimal.Decimal("1.10"), None, decimal.Decimal("-3.00")],
            "flag": [True, False, None],
        }
    )
    return {
        "rich": rich.with_columns(
            pl.col("s").cast(pl.Categorical).alias("c"),
            pl.col("s").cast(pl.Enum(["ä", ""])).alias("e"),
            pl.col("i").cast(pl.UInt8, strict=False).alias("u8"),
            pl.col("at").dt.convert_time_zone("Europe/Vienna").alias("vienna"),
        ),
        "no rows": rich.head(0),
        "no columns": pl.DataFrame(),
        "slice": pl.DataFrame({"n": range(1000)}).slice(500, 3),
        "chunks": pl.concat([pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [2]})], rechunk=False),
    }


@pytest.mark.parametrize("name", list(polars_frames()))
def test_polars_frames(tmp_path, name):
    import polars as pl
    from polars.testing import assert_frame_equal

    frame = polars_frames()[name]
    saved = save(frame, tmp_path, "step-0", allowance=None)
    assert saved["kind"] == "arrow" and saved["file"].endswith(".arrow")
    found = load(saved, tmp_path)
    assert type(found) is pl.DataFrame
    assert_frame_equal(found, frame, check_exact=True)
    assert found.schema == frame.schema
    loaded = pl.read_ipc(tmp_path / saved["file"])
    assert_frame_equal(loaded, frame)  # any tool that reads Arrow files can look at it


def test_polars_values_that_are_no_frames(tmp_path):
    import polars as pl
    from polars.testing import assert_frame_equal, assert_series_equal

    lazy = pl.LazyFrame({"a": [1, 2]}).filter(pl.col("a") > 1)
    found = back(lazy, tmp_path)
    assert type(found) is pl.LazyFrame
    assert_frame_equal(found.collect(), lazy.collect())
    assert_series_equal(back(pl.Series("s", [1, None]), tmp_path), pl.Series("s", [1, None]))
    assert save(pl.DataFrame({"o": [object()]}, schema={"o": pl.Object}), tmp_path, "o", allowance=None) is None
    assert save(pl.LazyFrame({"a": [1]}).map_batches(lambda frame: frame), tmp_path, "l", allowance=None) is None


def test_arrow_tables(tmp_path):
    import pyarrow as pa

    table = pa.table({"a": pa.array([1, None], pa.int32()), "d": pa.array(["x", "x"]).dictionary_encode()})
    table = table.replace_schema_metadata({"made": "here"})
    found = back(table, tmp_path)
    assert type(found) is pa.Table and found.equals(table, check_metadata=True)
    assert back(table.slice(0, 0), tmp_path).schema.equals(table.schema)


def test_duckdb_relations_come_back_as_relations_and_are_not_used_up(tmp_path):
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS n, 'row ' || range AS s FROM range(5000)")
        relation = connection.sql("SELECT * FROM t WHERE n >= 10")
        wanted = relation.fetchall()
        found = back(relation, tmp_path)
        assert type(found) is duckdb.DuckDBPyRelation
        assert found.order("n").fetchall() == wanted
        assert found.columns == ["n", "s"] and found.filter("n < 12").fetchall() == wanted[:2]
        assert relation.fetchall() == wanted, "the next step finds the whole of it"
        large = connection.sql("SELECT range AS n, 'row ' || range AS s FROM range(3000000)")
        assert save(large, tmp_path, "large", allowance=1 << 20) is None
        assert connection.sql("SELECT 1").fetchall() == [(1,)], "its connection is free for the next query"
    assert not list((tmp_path / "checkpoints").glob("large*"))


# -- paths ------------------------------------------------------------------------------------------------------


def test_a_path_is_its_file_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    file = tmp_path / "work" / "out \udc80.csv"
    file.write_text("a", "utf-8")
    for value in (file, Path(file.name), tmp_path / "work", Path(".")):
        saved = json.loads(json.dumps(save(value, tmp_path, "step-0", allowance=0)))
        assert saved["kind"] == "path"
        assert same(load(saved, tmp_path), value)
        monkeypatch.chdir(tmp_path)
        assert intact(saved, tmp_path), "wherever the process that asks happens to be"
        monkeypatch.chdir(tmp_path / "work")
    saved = save(Path(file.name), tmp_path, "step-0", allowance=0)
    os.utime(file, ns=(0, 1))
    assert not intact(saved, tmp_path)
    with pytest.raises(CheckpointDamaged, match="gone, or not as it was"):
        load(saved, tmp_path)
    saved = save(file, tmp_path, "step-0", allowance=0)
    file.unlink()
    assert not intact(saved, tmp_path)


# -- classes of flow modules ------------------------------------------------------------------------------------

MODULE = """
import dataclasses, enum
from flow_helpers.shapes import Circle
@dataclasses.dataclass
class Order:
    number: int
class Kind(enum.Enum):
    BIG = "big"
def value():
    return {"order": Order(3), "kind": Kind.BIG, "circle": Circle(2)}
def inner():
    class Local: pass
    return Local()
"""


def test_classes_of_a_flow_module_and_its_helpers(workspace, tmp_path):
    workspace.file(
        "flow_modules/flow_helpers/shapes.py", "class Circle:\n    def __init__(self, r):\n        self.r = r\n"
    )
    origin = workspace.module("orders", MODULE)

    def loaded():
        helpers = workspace.flow_modules / "flow_helpers"
        return load_module(origin.read_bytes(), origin=origin, stem="orders", helpers_dir=helpers)

    module = loaded()
    saved = save(module.value(), tmp_path, "step-0", allowance=None)
    assert save(module.inner(), tmp_path, "step-1", allowance=None) is None
    again = loaded()
    found = load(saved, tmp_path)
    assert type(found["order"]) is again.Order and found["order"].number == 3
    assert found["kind"] is again.Kind.BIG and found["circle"].r == 2
    code = (
        "import json, sys; from pathlib import Path; from flowstead.flow.loading import load_module;"
        "from flowstead.worker import checkpoints; saved, origin, folder = json.loads(sys.argv[1]);"
        "origin = Path(origin);"
        "load_module(origin.read_bytes(), origin=origin, stem='orders', helpers_dir=origin.parent / 'flow_helpers');"
        "value = checkpoints.load(saved, Path(folder)); print(value['order'], value['kind'], value['circle'].r)"
    )
    told = json.dumps([saved, str(origin), str(tmp_path)])
    done = subprocess.run([sys.executable, "-P", "-c", code, told], capture_output=True, text=True, check=True)
    assert done.stdout == "Order(number=3) Kind.BIG 2\n"


# -- what cannot be stored --------------------------------------------------------------------------------------


class Panic(BaseException):
    pass


class Unwilling:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [TypeError("no"), RecursionError(), MemoryError(), OSError(5, "io"), Panic("native"), SystemExit(3)],
    ids=repr,
)
def test_whatever_a_type_raises_it_only_has_no_checkpoint(tmp_path, error):
    assert save(["x" * 100_000, Unwilling(error)], tmp_path, "step-0", allowance=None) is None
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_values_that_no_pickle_takes(tmp_path):
    with open(os.devnull, "rb") as file:
        for value in (lambda: 1, (n for n in ()), sys, file, sys._getframe()):
            assert save({"v": value}, tmp_path, "step-0", allowance=None) is None


def test_a_type_without_a_module_and_one_whose_name_is_a_lie(tmp_path):
    for module in (None, 3, "polars"):
        value = type("DataFrame", (), {"__module__": module})()
        assert save(value, tmp_path, "step-0", allowance=1 << 20) is None


def test_the_values_of_a_batch_that_can_be_stored_are_found(tmp_path):
    values = {3: [1], 5: lambda: 1, 8: b"x" * 900, 9: Unwilling(Panic()), 10: b"y" * 900}
    assert list(checkpoints.storable(values, None)) == [3, 8, 10]
    assert list(checkpoints.storable(values, 1200)) == [3, 8]


# -- allowance, damage, atomicity -------------------------------------------------------------------------------


class Huge:
    """Pickles as many megabytes, one after the other, and counts them."""

    def __init__(self) -> None:
        self.given = 0

    def __reduce__(self):
        def parts():
            while self.given < 1000:
                self.given += 1
                yield os.urandom(1 << 20)

        return (list, (), None, parts())


def test_the_allowance_is_kept_while_something_huge_is_pickled(tmp_path):
    huge = Huge()
    assert save(huge, tmp_path, "step-0", allowance=5 << 20) is None
    assert 5 <= huge.given < 2000 and huge.given < 1000
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert save(bytearray(6 << 20), tmp_path, "step-0", allowance=5 << 20) is None
    buffer = pickle.PickleBuffer(bytearray(6 << 20))
    assert save([buffer], tmp_path, "step-0", allowance=5 << 20) is None
    assert back(b"x" * 100_000, tmp_path, allowance=200_000) == b"x" * 100_000


def test_the_allowance_is_kept_for_frames(tmp_path):
    import polars as pl
    import pyarrow as pa

    frame = pl.DataFrame({"n": range(1_000_000)})
    table = pa.table({"n": range(1_000_000)})
    for value in (frame, table):
        assert save(value, tmp_path, "large", allowance=1 << 20) is None
        assert save(value.slice(0, 100), tmp_path, "small", allowance=1 << 20) is not None
    assert not list((tmp_path / "checkpoints").glob("large*"))


def test_what_is_worth_a_checkpoint_of_its_own_accord():
    assert checkpoints.auto_allowance(0) == checkpoints.CHEAP_BYTES
    assert checkpoints.auto_allowance(60_000_000) > 1000 << 20


@pytest.mark.parametrize("kind", ["pickle", "arrow"])
def test_damage_is_found_before_anything_is_read(tmp_path, kind):
    import polars as pl

    value = {"a": (1, 2)} if kind == "pickle" else pl.DataFrame({"a": range(100)})
    saved = save(value, tmp_path, "step-0", allowance=None)
    assert saved["kind"] == kind
    path = tmp_path / saved["file"]
    whole = path.read_bytes()
    damaged = [whole[:-1], whole[:10], b"", whole + b"x"]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), max(1, len(whole) // 20))
    ]
    for data in damaged:
        path.write_bytes(data)
        assert not intact(saved, tmp_path)
        with pytest.raises(CheckpointDamaged):
            load(saved, tmp_path)
    path.unlink()
    assert not intact(saved, tmp_path)
    with pytest.raises(CheckpointDamaged, match="cannot be read"):
        load(saved, tmp_path)
    path.write_bytes(whole)
    assert intact(saved, tmp_path)


class Unreadable(Exception):
    """Pickles, but does not unpickle: it is made from two values and keeps one."""

    def __init__(self, one, two) -> None:
        super().__init__(one)


def test_what_does_not_read_back_is_damaged(tmp_path):
    saved = save(ItemResult(0, "item", None, Unreadable(1, 2), "failed"), tmp_path, "step-0", allowance=None)
    with pytest.raises(CheckpointDamaged, match="cannot be read back"):
        load(saved, tmp_path)


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path):
    first = save([b"first"], tmp_path, "step-0", allowance=None)
    assert save([b"x" * 10, Unwilling(ValueError())], tmp_path, "step-0", allowance=None) is None
    assert load(first, tmp_path) == [b"first"]
    second = save([b"second"], tmp_path, "step-0", allowance=None)
    assert load(second, tmp_path) == [b"second"] and not intact(first, tmp_path)
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == ["step-0.pickle"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "checkpoints").write_text("a file", "utf-8")
    assert save([b"x"], tmp_path, "step-0", allowance=None) is None


@pytest.mark.parametrize(
    "make", [lambda: os.urandom(2 << 20), lambda: __import__("pyarrow").table({"n": range(300_000)})]
)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, make):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True).returncode:
        pytest.skip("only root may mount a disk of one megabyte")
    try:
        with pytest.raises(OSError, match="No space left"):
            save(make(), disk, "step-0", allowance=None)
        assert list((disk / "checkpoints").iterdir()) == []
        assert back({"small": (1, 2)}, disk) == {"small": (1, 2)}
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
