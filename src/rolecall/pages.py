"""Reports for people: markdown, or one HTML file that opens offline. All text is escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rolecall.errors import StateError, UsageError
from rolecall.sqlite import storable

_FORMS = (".html", ".md")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-size:14px}
th,td{text-align:left;padding:.25rem .7rem;border-bottom:1px solid #ddd;vertical-align:top}
td{white-space:pre-wrap;overflow-wrap:anywhere}
figure{margin:1.5rem 0}svg{max-width:100%;height:auto}
.better,.ok,.same{color:#176b2c}.weak,.changed{color:#8a5a00}.worse,.unfit,.failed{color:#a11}
"""
_COLOURED = frozenset({"better", "worse", "ok", "weak", "unfit", "same", "changed", "failed"})

Section = tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]
"""A title, the table's head, its rows. A row whose last cell is a verdict gets its colour."""


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: its heading.
        sections: its tables.
        plots: SVG texts by title; the title's first word names the file beside a markdown report.
        notes: paragraphs at its end.
    """

    title: str
    sections: Sequence[Section]
    plots: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def check_path(path: Path) -> None:
    """Refuse a report that could not be written, before anything is measured.

    Raises:
        UsageError: it is neither HTML nor markdown, or its folder is missing.
    """
    if path.suffix not in _FORMS:
        raise UsageError(f"--report {path}: expected a file that ends in {' or '.join(_FORMS)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.absolute().parent}")


def write_page(page: Page, path: Path) -> None:
    """Write a report. Plots of a markdown report stand beside it as SVG files.

    Raises:
        StateError: it cannot be written.
    """
    try:
        if path.suffix == ".html":
            path.write_text(_html(page), encoding="utf-8")
            return
        names = {}
        for title, svg in page.plots.items():
            file = path.with_name(f"{path.stem}-{title.split()[0].lower()}.svg")
            file.write_text(svg, encoding="utf-8")
            names[title] = file.name
        path.write_text(_markdown(page, names), encoding="utf-8")
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror or error}") from error


def _html(page: Page) -> str:
    title = _written(page.title)
    parts = [f"<h1>{title}</h1>"]
    for name, svg in page.plots.items():
        parts.append(f"<h2>{_written(name)}</h2><figure>{svg}</figure>")
    for name, head, rows in page.sections:
        cells = "".join(f"<th>{_written(one)}</th>" for one in head)
        parts.append(f"<h2>{_written(name)}</h2><table><tr>{cells}</tr>")
        for row in rows:
            kind = f' class="{row[-1]}"' if row[-1] in _COLOURED else ""
            told = "".join(f"<td>{_written(cell)}</td>" for cell in row)
            parts.append(f"<tr{kind}>{told}</tr>")
        parts.append("</table>")
    parts += [f"<p>{_written(note)}</p>" for note in page.notes]
    text = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body>{text}</body></html>\n"
    )


def _written(text: str) -> str:
    """Escaped, and UTF-8: a model's text may hold halves of surrogate pairs."""
    return html.escape(storable(text))


def _markdown(page: Page, plots: Mapping[str, str]) -> str:
    lines = [f"# {_plain(page.title)}", ""]
    for title, head, rows in page.sections:
        lines += [f"## {_plain(title)}", "", _row([_plain(name) for name in head])]
        lines += [_row(["---"] * len(head))]
        lines += [*(_row([_plain(cell) for cell in row]) for row in rows), ""]
    for title, name in plots.items():
        lines += [f"## {_plain(title)}", "", f"![{_plain(title)}]({name.replace(' ', '%20')})", ""]
    return "\n".join([*lines, *(f"{_plain(note)}\n" for note in page.notes)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """No markup of a name counts: it is text."""
    kept = html.escape(" ".join(storable(text).split()), quote=False)
    return "".join(f"\\{mark}" if mark in r"\`*_[]|#" else mark for mark in kept)
