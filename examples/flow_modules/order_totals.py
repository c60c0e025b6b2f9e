"""One run for each CSV file in incoming/: adds up its orders and mirrors the totals as JSON."""

import csv
import json
from collections import Counter
from pathlib import Path

from flowstead import Flow, FlowContext

DESCRIPTION = "Totals by product, one JSON file for each file of orders."


def build() -> Flow:
    return (
        Flow("Orders")
        .watch(mode="poll", source="../incoming", interval="30s", extensions=[".csv"], max_parallel=2)
        .mirror(root="../totals")
        .step(read_orders, save_as="orders", retries=2, retry_delay="5s")
        .step(add_up, save_as="totals")
        .step(write_totals)
    )


def read_orders(context: FlowContext) -> list[dict[str, str]]:
    with context.source.path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add_up(context: FlowContext) -> dict[str, float]:
    totals: Counter[str] = Counter()
    for order in context.current:
        totals[order["product"]] += int(order["quantity"]) * float(order["price"])
    return dict(totals)


def write_totals(context: FlowContext) -> Path:
    path = context.mirror.with_extension(".json")
    path.write_text(json.dumps(context.current, indent=2), encoding="utf-8")
    context.metadata["orders"] = len(context.objects["orders"])
    context.summary = f"{len(context.objects['orders'])} orders, {sum(context.current.values()):,.2f} in all"
    return path
