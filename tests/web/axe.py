"""What is wrong with a page for people who do not see or point well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def findings(page: Any) -> list[str]:
    """The serious findings of axe on the page as it is shown now."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci --prefix web")
    page.locator("main").first.wait_for()
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run(document)).violations")
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] in ("serious", "critical")
    ]
