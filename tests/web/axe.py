"""What is wrong with a page for people who do not see or point well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SETTLED = """
() => Promise.all(
  document.getAnimations()
    .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
    .map((each) => each.finished.catch(() => null)))
"""
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def findings(page: Any) -> list[str]:
    """The serious findings of axe on the page as it is shown now, in light and in dark."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci --prefix web")
    page.locator("main").first.wait_for()
    page.evaluate(AXE.read_text("utf-8"))
    serious: list[str] = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.locator(f'[data-mantine-color-scheme="{scheme}"]').first.wait_for()
        # Colours that still pass into one another would be measured half-way.
        page.evaluate(SETTLED)
        # What is the same in both schemes is looked at once.
        rules = {"runOnly": ["color-contrast"]} if scheme == "light" else {}
        found = page.evaluate("async (rules) => (await axe.run(document, rules)).violations", rules)
        serious += [
            f"{scheme}: {each['id']}: {each['nodes'][0]['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
    return serious
