"""The code that the documents and examples show is code that works."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import flowstead

ROOT = Path(__file__).parents[2]


def shown_flows(page: str) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "def build()" in block]


def flow_of(source: str) -> flowstead.Flow:
    module: dict[str, object] = {}
    exec(compile(source, "<shown>", "exec"), module)
    return module["build"]()  # type: ignore[operator]


@pytest.mark.parametrize("page", ["README.md", "docs/authoring.md"])
def test_every_flow_shown_can_be_built(page: str) -> None:
    flows = [flow_of(source) for source in shown_flows(page)]
    assert flows
    assert all(flow.steps for flow in flows)


def test_the_guide_shows_every_parameter_of_the_builder() -> None:
    import inspect

    guide = (ROOT / "docs" / "authoring.md").read_text(encoding="utf-8")
    for method in ("step", "map", "collect", "watch", "ask"):
        shown = re.search(rf"^\.{method}\((.*?)\)$", guide, re.MULTILINE | re.DOTALL)
        assert shown, method
        names = [part.split("=")[0].strip() for part in shown[1].split(",")]
        expected = [name for name in inspect.signature(getattr(flowstead.Flow, method)).parameters if name != "self"]
        assert [name for name in names if name != "*"] == expected


def test_the_guide_names_everything_the_context_has() -> None:
    guide = (ROOT / "docs" / "authoring.md").read_text(encoding="utf-8")
    context = flowstead.load_flow("dice", ROOT / "examples").run_once()[0]
    public = {name for name in (*dir(context), *vars(context)) if not name.startswith("_")}
    assert [name for name in sorted(public) if not re.search(rf"`[^`\n]*\b{name}\b", guide)] == []


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("totals")))


def test_examples_run(examples: Path) -> None:
    monday, tuesday = flowstead.load_flow("order_totals", examples).run_once()
    assert json.loads((examples / "totals" / "monday.json").read_text()) == {"apples": 2.05, "pears": 1.6}
    assert (monday.summary, tuesday.summary) == ("3 orders, 3.65 in all", "2 orders, 6.15 in all")

    (examples / "totals" / "broken.json").write_text("{")
    (digest,) = flowstead.load_flow("daily_digest", examples).run_once()
    assert digest.current == pytest.approx({"apples": 2.05, "pears": 5.35, "plums": 2.4})
    assert digest.summary == "3 products, 1 unreadable files"

    (dice,) = flowstead.load_flow("dice", examples).run_once(params={"sides": 6, "seed": 1})
    assert sum(dice.current.values()) == 1000
    assert set(dice.current) <= set(range(2, 13))


def test_the_examples_page_lists_them_all() -> None:
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for flow in flowstead.discover_flows(ROOT / "examples"):
        assert f"](flow_modules/{flow.name}." in page
