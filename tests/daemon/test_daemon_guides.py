"""The guides as the console shows them: complete, offline, and with no link that leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from serving import Served

from flowstead.daemon import guidebook

DOCS = Path(__file__).parents[2] / "docs"


def get(served: Served, path: str) -> Any:
    return served.get(f"/api/v1{path}", **served.bearer)


def test_every_guide_is_listed_with_its_headings_and_shown(served: Served) -> None:
    listed = get(served, "/guides").json["guides"]
    assert {each["name"] for each in listed} == {path.stem for path in DOCS.glob("*.md")}
    assert [each["name"] for each in listed][:2] == ["authoring", "console"]
    for each in listed:
        shown = get(served, f"/guides/{each['name']}").json
        assert {**each, "text": shown["text"]} == shown
        assert shown["text"] == (DOCS / f"{each['name']}.md").read_text("utf-8")
        assert shown["headings"][0]["level"] == 1 and shown["title"] == shown["headings"][0]["text"]
        anchors = [heading["anchor"] for heading in shown["headings"]]
        assert len(set(anchors)) == len(anchors)
        # What stands in a block of code is no heading.
        assert not [heading for heading in shown["headings"] if heading["text"].startswith("$")]


def test_links_of_guides_lead_to_guides_and_images(served: Served) -> None:
    anchors = {each.name: {heading.anchor for heading in each.headings} for each in guidebook.guides()}
    seen = 0
    for guide in guidebook.guides():
        text = re.sub(r"^(```|~~~).*?^\1", "", guide.text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"https?:", target):
                continue
            seen += 1
            page, _, anchor = target.partition("#")
            if page.startswith("images/"):
                assert get(served, f"/guides/{page}").status == 200, f"{guide.name}: {target}"
                continue
            name = page.removesuffix(".md") if page else guide.name
            assert name in anchors, f"{guide.name}: {target} leads nowhere"
            assert not anchor or anchor in anchors[name], f"{guide.name}: {target} leads nowhere"
    assert seen > 20


def test_images_come_as_they_are_and_do_nothing(served: Served) -> None:
    for path in (DOCS / "images").iterdir():
        answer = get(served, f"/guides/images/{path.name}")
        assert (answer.status, answer.body) == (200, path.read_bytes())
        assert answer.headers["content-type"] == guidebook.IMAGES[path.suffix]
        assert answer.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize("name", ["absent", "..%2fsettings", "settings.md", "%2e%2e", "images", "..", "a" * 4000])
def test_no_other_file_is_shown(served: Served, name: str) -> None:
    for path in (f"/guides/{name}", f"/guides/images/{name}"):
        assert get(served, path).status in (400, 404), path


def test_they_come_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = tmp_path / "guides"
    packaged.mkdir()
    (packaged / "only.md").write_text("# *Only* `one`\n\n## A\n\n~~~\n# no\n~~~\n\n## A\n### [B & c](x.md)\n", "utf-8")
    monkeypatch.setattr(guidebook, "_PACKAGED", packaged)
    (guide,) = guidebook.guides()
    assert (guide.name, guide.title) == ("only", "Only one")
    assert [(each.level, each.text, each.anchor) for each in guide.headings] == [
        (1, "Only one", "only-one"),
        (2, "A", "a"),
        (2, "A", "a-1"),
        (3, "B & c", "b--c"),
    ]
    import tomllib

    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    shown = {
        image for path in DOCS.glob("*.md") for image in re.findall(r"\]\((images/[^)]+)\)", path.read_text("utf-8"))
    }
    wanted = {*(path.name for path in DOCS.glob("*.md")), *shown}
    assert included == {f"docs/{name}": f"flowstead/daemon/guides/{name}" for name in wanted}
