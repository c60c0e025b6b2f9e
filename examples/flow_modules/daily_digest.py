"""Each morning, all totals of order_totals.py in one report. A file that cannot be read is named, and stops nothing."""

import json

from flowstead import FileRef, Flow, FlowContext

DESCRIPTION = "A morning report over all totals."


def build() -> Flow:
    return (
        Flow("Orders")
        .watch(mode="schedule", time="06:30", timezone="Europe/Berlin")
        .collect([".json"], root="../totals", save_as="files")
        .map(read_totals, use="files", save_as="totals", workers=4, on_error="collect")
        .step(write_digest)
    )


def read_totals(file: FileRef) -> dict[str, float]:
    return json.loads(file.path.read_text(encoding="utf-8"))


def write_digest(context: FlowContext) -> dict[str, float]:
    combined: dict[str, float] = {}
    unreadable: list[str] = []
    for result in context.current:
        if not result.ok:
            unreadable.append(f"- `{result.item.name}`: {result.error}")
            continue
        for product, total in result.value.items():
            combined[product] = combined.get(product, 0.0) + total
    lines = ["# Orders", "", "| product | total |", "|---|---:|"]
    lines += [f"| {product} | {total:,.2f} |" for product, total in sorted(combined.items())]
    if unreadable:
        lines += ["", "## Files that could not be read", "", *unreadable]
    context.report("\n".join(lines) + "\n", "digest")
    context.summary = f"{len(combined)} products, {len(unreadable)} unreadable files"
    return combined
