import io
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars
import pytest

from flowstead.flow.errors import ArtifactRefused

FRAME = polars.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})


def frames():
    return {
        "polars": FRAME,
        "lazy": FRAME.lazy(),
        "arrow": FRAME.to_arrow(),
        "record batch": FRAME.to_arrow().to_batches()[0],
        "duckdb": duckdb.sql("select unnest([1, 2, 3]) as a, unnest(['x', 'y', 'z']) as b"),
    }


@pytest.mark.parametrize("kind", list(frames()))
def test_frames_are_kept_as_parquet(make_context, sink, kind):
    path = make_context().debug.save_frame(frames()[kind], name=kind, info={"stage": "raw", "when": date(2024, 1, 1)})
    assert path == sink.artifacts_dir / f"{kind}.parquet"
    assert polars.read_parquet(path).equals(FRAME)
    info = {"rows": 3, "columns": 2, "stage": "raw", "when": "2024-01-01"}
    assert sink.artifacts == [(kind, "frame", path, info)]


def test_a_pandas_frame_is_kept_as_parquet(make_context, sink):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    path = make_context().debug.save_frame(frame, name="p")
    assert polars.read_parquet(path).equals(FRAME) and sink.artifacts[0][3] == {"rows": 3, "columns": 2}


def test_names_are_safe_and_unique_within_the_run(make_context, sink):
    sink.artifacts_dir.mkdir()
    (sink.artifacts_dir / "kept.parquet").write_bytes(b"of an earlier attempt")
    debug = make_context().debug
    names = ["a/b", "A/B", "..", "../../x", "CON", "Delays by hour", "Delays by hour", None, "ü" * 300, "a:b.c", "kept"]
    paths = [debug.save_json(1, name=name) for name in names]
    assert [path.name for path in paths[:7]] == [
        "a_b.json", "A_B_2.json", "artifact.json", "x.json", "CON_.json", "Delays by hour.json",
        "Delays by hour_2.json"]  # fmt: skip
    assert [path.name for path in (paths[7], paths[9], paths[10])] == ["json.json", "a_b_c.json", "kept_2.json"]
    assert all(path.parent == sink.artifacts_dir and path.is_file() for path in paths)
    assert (sink.artifacts_dir / "kept.parquet").read_bytes() == b"of an earlier attempt"
    assert [name for name, *_ in sink.artifacts] == [path.name.removesuffix(".json") for path in paths]


def test_threads_that_save_at_once_get_different_files(make_context, sink):
    debug = make_context().debug
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda number: debug.save_json(number, name="n"), range(200)))
    assert len(set(paths)) == 200
    assert sorted(json.loads(path.read_text()) for path in paths) == list(range(200))


def test_values_are_kept_as_strict_json(make_context):
    value = {
        "nan": math.nan, "inf": [math.inf], 3: (1, None, True), "set": {2}, "day": date(2024, 3, 31),
        "at": datetime(2024, 3, 31, tzinfo=UTC), "path": Path("a") / "b", "money": Decimal("1.50"),
        "series": polars.Series([1, 2]).to_numpy(), "text": "Überzug",
    }  # fmt: skip
    path = make_context().debug.save_json(value, name="v")
    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail) == {
        "nan": None, "inf": [None], "3": [1, None, True], "set": [2], "day": "2024-03-31",
        "at": "2024-03-31T00:00:00+00:00", "path": os.path.join("a", "b"), "money": "1.50", "series": [1, 2],
        "text": "Überzug",
    }  # fmt: skip


def test_a_report_is_kept_as_markdown(make_context, sink):
    path = make_context().report("# Late flights\n\nÜber 9\ud800")
    assert path.name == "report.md"
    assert path.read_bytes().decode() == "# Late flights\n\nÜber 9?"
    assert sink.artifacts == [("report", "report", path, {})]


PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
SVG = '<?xml version="1.0"?>\n<!-- made by hand --><svg xmlns="http://www.w3.org/2000/svg"></svg>'


@pytest.mark.parametrize(
    ("image", "ending", "content"),
    [
        (PNG, ".png", PNG),
        (bytearray(PNG), ".png", PNG),
        (b"\xff\xd8\xff\xe0", ".jpg", b"\xff\xd8\xff\xe0"),
        (SVG, ".svg", SVG.encode()),
        (SVG.encode("utf-8-sig"), ".svg", SVG.encode("utf-8-sig")),
        ("<svg/>".replace("/", " /"), ".svg", b"<svg />"),
    ],
)
def test_images_are_kept_as_they_are(make_context, sink, image, ending, content):
    path = make_context().show(image, name="picture")
    assert path.name == f"picture{ending}" and path.read_bytes() == content
    assert sink.artifacts == [("picture", "image", path, {})]


def test_a_matplotlib_figure_or_its_axes_becomes_a_png(make_context, sink):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2, 3])
    context = make_context()
    for shown in (figure, axes):
        assert context.show(shown, name="plot").read_bytes().startswith(PNG[:8])
    assert [(name, kind) for name, kind, *_ in sink.artifacts] == [("plot", "figure"), ("plot_2", "figure")]


def test_a_pil_image_becomes_a_png(make_context):
    from PIL import Image

    path = make_context().show(Image.new("RGB", (2, 2)))
    assert path.name == "image.png"
    assert Image.open(io.BytesIO(path.read_bytes())).size == (2, 2)


def test_a_frame_can_be_shown(make_context, sink):
    assert polars.read_parquet(make_context().show(FRAME)).equals(FRAME)
    assert sink.artifacts[0][:2] == ("frame", "frame")


def altair_chart():
    altair = pytest.importorskip("altair")
    return altair.Chart(FRAME).mark_bar().encode(x="b", y="a")


def plotly_chart():
    graph = pytest.importorskip("plotly.graph_objects")
    return graph.Figure(graph.Bar(x=["x", "y"], y=[1, 2]))


@pytest.mark.parametrize(
    ("chart", "ending", "holds"), [(altair_chart, ".vl.json", "mark"), (plotly_chart, ".plotly.json", "data")]
)
def test_charts_are_kept_as_their_specification_and_a_page(make_context, sink, chart, ending, holds):
    path = make_context().show(chart(), name="bars")
    assert path.name == f"bars{ending}" and holds in json.loads(path.read_text(encoding="utf-8"))
    page = (sink.artifacts_dir / "bars.html").read_text(encoding="utf-8")
    assert "<html" in page.lower()
    assert sink.artifacts == [("bars", "figure", path, {"html": "bars.html"})]


def test_a_chart_whose_page_cannot_be_made_is_kept_as_its_specification(make_context, sink, monkeypatch):
    chart = altair_chart()

    def no_renderer(*args, **options):
        raise ImportError("no renderer")

    monkeypatch.setattr(type(chart), "to_html", no_renderer)
    path = make_context().show(chart, name="bars")
    assert path.name == "bars.vl.json" and sink.artifacts[0][3] == {}
    assert not (sink.artifacts_dir / "bars.html").exists()


@pytest.mark.parametrize(
    ("call", "code", "says"),
    [
        (lambda c: c.show(3, name="x"), "show-unsupported", "an int"),
        (lambda c: c.show("just text"), "show-unsupported", "a str"),
        (lambda c: c.show(b"bytes"), "show-unsupported", "a bytes"),
        (lambda c: c.show(None), "show-unsupported", "None"),
        (lambda c: c.debug.save_frame([1]), "frame-unsupported", "a list"),
        (lambda c: c.debug.save_json({"a": object()}), "json-unsupported", "an object"),
        (lambda c: c.debug.save_json(1, info=[1]), "info-not-mapping", "a list"),
        (lambda c: c.debug.save_frame(FRAME, info={"a": object()}), "json-unsupported", "info="),
        (lambda c: c.report(3), "report-not-text", "an int"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_what_cannot_be_kept_is_a_coded_type_error_in_previews_too(make_context, sink, call, code, says, kept):
    if not kept:
        sink.artifacts_dir = None
    with pytest.raises(ArtifactRefused) as caught:
        call(make_context())
    assert isinstance(caught.value, TypeError)
    assert caught.value.code == code and says in caught.value.message and caught.value.hint
    assert sink.artifacts == []


def test_a_preview_keeps_nothing(make_context, sink, tmp_path):
    sink.artifacts_dir = None
    context = make_context()
    assert context.debug.save_frame(FRAME, name="f") is None
    assert context.debug.save_json([1], name="j") is None
    assert context.report("# R") is None
    assert context.show(PNG) is None
    assert sink.artifacts == [] and list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(make_context, sink):
    lazy = polars.LazyFrame({"a": ["x"]}).with_columns(polars.col("a").cast(polars.Int64))
    with pytest.raises(polars.exceptions.PolarsError):
        make_context().debug.save_frame(lazy, name="f")
    assert list(sink.artifacts_dir.iterdir()) == [] and sink.artifacts == []
