"""Writes the delay report: an Excel workbook, a picture, and a page for whoever looks at the run."""

from pathlib import Path

import polars as pl
import xlsxwriter
from matplotlib.figure import Figure

from flowstead import Flow, FlowContext

DESCRIPTION = "Who is late, where and when: a workbook and a picture."

# The industry counts an arrival as late from 15 minutes on.
LATE = 15
INK, BLUE, RED = "#1f2933", "#2f6690", "#c8553d"


def build() -> Flow:
    return (
        Flow("Reports", label="Delay report")
        .watch(mode="poll", run_as="batch", source="../../lake/delays", interval="30s", extensions=[".parquet"])
        .mirror(root="../../reports")
        .collect([".parquet"], label="Collect flights")
        .step(read_flights, save_as="flights")
        .step(summarize, save_as="tables")
        .step(write_workbook)
        .step(draw, use="tables")
        .step(write_page, use="tables")
    )


def read_flights(context: FlowContext) -> pl.DataFrame:
    return pl.read_parquet(context.current.paths())


def summarize(context: FlowContext) -> dict[str, pl.DataFrame]:
    """One table a sheet, by the sheet's name."""
    carriers = pl.read_csv(context.database("reference/airlines.csv"))
    flights = context.current.join(carriers, on="carrier", how="left").with_columns(
        hour=pl.col("scheduled_departure").dt.hour(),
        wind_from=(pl.col("wind_speed") // 5 * 5).clip(upper_bound=20).cast(pl.Int32),
    )
    tables = {
        "Carriers": by(flights, "name").sort("flights", descending=True),
        "Airports": by(flights, "origin").sort("origin"),
        "Days": by(flights, "date").sort("date"),
        "Hours": by(flights, "hour").sort("hour"),
        "Wind (mph)": by(flights.drop_nulls("wind_from"), "wind_from").sort("wind_from"),
        "Routes": by(flights, "origin", "dest").filter(pl.col("flights") >= 100).sort("late", descending=True).head(25),
    }
    context.debug.save_frame(tables["Carriers"], "carriers")
    return tables


def by(flights: pl.DataFrame, *keys: str) -> pl.DataFrame:
    delay = pl.col("departure_delay")
    return flights.group_by(keys).agg(
        flights=pl.len(),
        cancelled=pl.col("cancelled").sum(),
        mean_delay=delay.mean().round(1),
        median_delay=delay.median(),
        worst_delay=delay.max(),
        late=(pl.col("arrival_delay") >= LATE).mean().round(4),
    )


def write_workbook(context: FlowContext) -> Path:
    path = context.mirror.root_file("delays.xlsx")
    with xlsxwriter.Workbook(path, {"default_date_format": "ddd d mmm yyyy"}) as workbook:
        write_cover(workbook, context)
        for name, table in context.current.items():
            sheet = workbook.add_worksheet(name)
            table.rename(lambda column: column.replace("_", " ").capitalize()).write_excel(
                workbook,
                sheet,
                table_style="Table Style Light 9",
                column_formats={"Flights": "#,##0", "Cancelled": "#,##0", "Mean delay": "0.0", "Late": "0.0%"},
                conditional_formats={
                    "Mean delay": {"type": "data_bar", "bar_color": "#9fc3dd", "bar_solid": True},
                    "Late": {"type": "2_color_scale", "min_color": "#ffffff", "max_color": "#f0b8a8"},
                },
                freeze_panes=(1, 0),
                autofit=True,
            )
    return path


def write_cover(workbook: xlsxwriter.Workbook, context: FlowContext) -> None:
    days = context.current["Days"]
    sheet = workbook.add_worksheet("Summary")
    sheet.hide_gridlines(2)
    sheet.set_column("A:A", 34)
    sheet.set_column("B:B", 22)
    title = workbook.add_format({"bold": True, "font_size": 18, "font_color": INK})
    label = workbook.add_format({"font_color": INK, "bottom": 4})
    sheet.write("A1", "Flights out of New York, January 2013", title)
    rows = [
        ("Flights", days["flights"].sum(), "#,##0"),
        ("Cancelled", days["cancelled"].sum(), "#,##0"),
        ("Carriers", context.current["Carriers"].height, "0"),
        (
            f"Arrived {LATE} minutes late or more",
            context.objects["flights"].select((pl.col("arrival_delay") >= LATE).mean()).item(),
            "0.0%",
        ),
        ("Mean departure delay (minutes)", context.objects["flights"]["departure_delay"].mean(), "0.0"),
    ]
    for row, (name, value, number_format) in enumerate(rows, start=2):
        sheet.write(row, 0, name, label)
        sheet.write(row, 1, value, workbook.add_format({"num_format": number_format, "bold": True, "bottom": 4}))
    chart = workbook.add_chart({"type": "column"})
    chart.add_series(
        {
            "name": "Mean departure delay (minutes)",
            "categories": ["Days", 1, 0, days.height, 0],
            "values": ["Days", 1, 3, days.height, 3],
            "fill": {"color": BLUE},
            "gap": 40,
        }
    )
    chart.set_title({"name": "Mean departure delay by day (minutes)"})
    chart.set_legend({"none": True})
    chart.set_x_axis({"num_format": "d", "date_axis": True})
    chart.set_size({"width": 760, "height": 320})
    sheet.insert_chart("A9", chart)


def draw(context: FlowContext) -> Path:
    days = context.current["Days"]
    # A handful of flights would make a bar that says nothing about the carrier.
    carriers = context.current["Carriers"].filter(pl.col("flights") >= 100).sort("mean_delay")
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])

    dates = days["date"].dt.day()
    left.bar(dates, days["mean_delay"], color=BLUE, label="mean delay (minutes)")
    left.plot(dates, days["cancelled"], color=RED, marker="o", markersize=4, label="flights cancelled")
    left.set(title="Departures by day, January 2013", xlabel="day", xlim=(0.3, 31.7))
    left.legend(frameon=False)

    right.barh(carriers["name"], carriers["mean_delay"], color=BLUE)
    right.set(title="Mean departure delay by carrier (minutes)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)

    path = context.mirror.root_file("delays.png")
    figure.savefig(path, dpi=120)
    context.show(figure, "delays")
    return path


def write_page(context: FlowContext) -> Path:
    carriers = context.current["Carriers"]
    context.summary = f"{carriers['flights'].sum():,} flights, {carriers.height} carriers"
    lines = [
        f"# {context.summary} in January 2013",
        "",
        "| carrier | flights | mean delay (minutes) | late |",
        "|---|---:|---:|---:|",
        *(
            f"| {carrier['name']} | {carrier['flights']:,} | {carrier['mean_delay']} | {carrier['late']:.1%} |"
            for carrier in carriers.to_dicts()
        ),
        "",
        "All tables are in `delays.xlsx`.",
    ]
    context.report("\n".join(lines) + "\n")
    return context.mirror.root_file("delays.xlsx")
