"""What `--help` looks like: no boxes, two aligned columns, examples as they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_WIDEST_NAME = 28


class HelpFormat:
    """Lays out help for Cyclopts; its HelpFormatter protocol tells the methods."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        from rich.table import Table
        from rich.text import Text

        if not panel.entries:
            return
        console.print(Text(str(panel.title), style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(min_width=10, max_width=_WIDEST_NAME)
        grid.add_column()
        for entry in panel.entries:
            grid.add_row(Text(f"  {_name(entry)}", style="cyan"), Text(_joined(_plain(entry.description))))
        console.print(grid)
        console.print()

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        from rich.text import Text

        console.print(Text(_plain(usage).strip()))
        console.print()

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        from rich.text import Text

        for paragraph in _plain(description).strip().split("\n\n"):
            if paragraph.startswith(" "):
                console.print(Text(paragraph, style="cyan"), soft_wrap=True)
            else:
                console.print(Text(_joined(paragraph).replace("::", ":")))
            if not paragraph.endswith("::"):
                console.print()


def _name(entry: HelpEntry) -> str:
    names = ", ".join((*entry.positive_shorts, *entry.positive_names)) or entry.positional_label or ""
    return f"{names} {entry.metavar}" if entry.metavar and entry.positive_names else names


def _plain(shown: Any) -> str:
    if not shown or isinstance(shown, str):
        return shown or ""
    # Cyclopts wraps the text once more, to put defaults and choices behind it; none are shown here.
    return getattr(shown, "primary_renderable", shown).plain


def _joined(paragraph: str) -> str:
    return " ".join(paragraph.split())
