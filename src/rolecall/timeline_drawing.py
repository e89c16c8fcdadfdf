"""Draws a timeline as SVG, PNG, HTML or text; files open offline, text in them is only text."""

from __future__ import annotations

import io
from html import escape

from rolecall.telemetry.timeline import Bar, Timeline

FORMS = ("svg", "png", "html")

_ROW, _BAR, _TOP, _LEFT, _PLOT, _RIGHT = 26.0, 16.0, 56.0, 220.0, 640.0, 110.0
_INK, _PALE, _PAPER, _BAD, _MARK = "#1f2937", "#d1d5db", "#ffffff", "#dc2626", "#111827"
_COLOURS = {"turn": "#9ca3af", "node": "#a5b4fc", "model": "#34d399", "tool": "#fbbf24"}
_INDENT = {"turn": 0, "node": 1, "model": 2, "tool": 2}
_LABEL_CHARS, _TICKS = 26, 6


def draw_timeline(timeline: Timeline, form: str) -> bytes:
    """A timeline as ``svg``, ``png`` or ``html``."""
    if form == "png":
        return to_png(timeline)
    return (to_svg(timeline) if form == "svg" else to_html(timeline)).encode()


def to_svg(timeline: Timeline) -> str:
    """An SVG document without scripts, fonts or links from elsewhere."""
    width, height = _size(timeline)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
        _svg_text(16, 22, timeline.title),
        _svg_text(16, 40, _LEGEND, 'font-size="11" fill="#6b7280"'),
    ]
    for ms, x in _ticks(timeline):
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP:.0f}" x2="{x:.1f}" y2="{height - 12:.1f}" '
            f'stroke="{_PALE}"/>' + _svg_text(x + 3, _TOP + 6, _time(ms), 'font-size="10"')
        )
    for number, bar in enumerate(timeline.bars):
        x0, x1, y = _place(timeline, number)
        parts.append(f"<g><title>{escape(_clean(_told(bar)))}</title>")
        parts.append(
            f'<rect x="{x0:.1f}" y="{y:.1f}" width="{x1 - x0:.1f}" height="{_BAR:.0f}" rx="3" '
            f'fill="{_colour(bar)}"/>'
        )
        if bar.first_token_ms is not None:
            x = _x(timeline, bar.first_token_ms)
            parts.append(
                f'<line class="first-token" x1="{x:.1f}" y1="{y - 2:.1f}" x2="{x:.1f}" '
                f'y2="{y + _BAR + 2:.1f}" stroke="{_MARK}" stroke-width="2"/>'
            )
        parts.append(_svg_text(16 + 14 * _INDENT[bar.kind], y + 12.5, _label(bar)))
        parts.append(_svg_text(x1 + 5, y + 12.5, _time(bar.end_ms - bar.start_ms)) + "</g>")
    return "\n".join([*parts, "</svg>\n"])


def to_html(timeline: Timeline) -> str:
    """A page of its own: the picture, and a table with what does not fit into it."""
    rows = "\n".join(
        f"<tr><td>{bar.kind}</td><td>{escape(_clean(bar.name))}</td>"
        f"<td>{_time(bar.start_ms)}</td><td>{_time(bar.end_ms - bar.start_ms)}</td>"
        f"<td>{_first(bar)}</td><td>{escape(_clean(bar.note))}</td></tr>"
        for bar in timeline.bars
    )
    title = escape(_clean(timeline.title))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{title}</title>\n<style>body{{font:14px sans-serif;margin:24px}}"
        "td,th{text-align:left;padding:2px 12px 2px 0;vertical-align:top}</style></head><body>\n"
        f"{to_svg(timeline)}<table>\n<tr><th>what</th><th>name</th><th>began</th><th>took</th>"
        f"<th>first token after</th><th>note</th></tr>\n{rows}\n</table></body></html>\n"
    )


def to_png(timeline: Timeline, scale: float = 2.0) -> bytes:
    """The picture as PNG bytes, ``scale`` pixels to one of the SVG."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = _size(timeline)
    image = Image.new("RGB", (round(width * scale), round(height * scale)), _PAPER)
    draw = ImageDraw.Draw(image)

    def write(x: float, y: float, text: str, size: float = 13, fill: str = _INK) -> None:
        font = ImageFont.load_default(size=size * scale)
        draw.text((x * scale, y * scale), _clean(text), fill=fill, font=font, anchor="ls")

    write(16, 22, timeline.title)
    write(16, 40, _LEGEND, 11, "#6b7280")
    for ms, x in _ticks(timeline):
        draw.line([(x * scale, _TOP * scale), (x * scale, (height - 12) * scale)], fill=_PALE)
        write(x + 3, _TOP + 6, _time(ms), 10)
    for number, bar in enumerate(timeline.bars):
        x0, x1, y = _place(timeline, number)
        corners = [x0 * scale, y * scale, x1 * scale, (y + _BAR) * scale]
        draw.rectangle(corners, fill=_colour(bar))
        if bar.first_token_ms is not None:
            x = _x(timeline, bar.first_token_ms) * scale
            ends = [(x, (y - 2) * scale), (x, (y + _BAR + 2) * scale)]
            draw.line(ends, fill=_MARK, width=round(2 * scale))
        write(16 + 14 * _INDENT[bar.kind], y + 12.5, _label(bar))
        write(x1 + 5, y + 12.5, _time(bar.end_ms - bar.start_ms))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def to_text(timeline: Timeline, columns: int = 40) -> str:
    """Bars of characters: ``=`` while it ran, ``|`` the first token, ``!`` what failed."""
    lines = [_clean(timeline.title)]
    for bar in timeline.bars:
        first, last = (
            min(columns - 1, int(ms / (timeline.total_ms or 1.0) * columns))
            for ms in (bar.start_ms, bar.end_ms)
        )
        cells = [" "] * columns
        cells[first : last + 1] = ("=" if bar.ok else "!") * (last - first + 1)
        if bar.first_token_ms is not None:
            at = int(bar.first_token_ms / (timeline.total_ms or 1.0) * columns)
            cells[min(columns - 1, at)] = "|"
        name = "  " * _INDENT[bar.kind] + _label(bar)
        took = _time(bar.end_ms - bar.start_ms)
        lines.append(f"{name:{_LABEL_CHARS + 6}} {''.join(cells)} {took:>8}  {_clean(bar.note)}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


_LEGEND = "grey turn · blue node · green model call · yellow tool · red failed · | first token"


def _size(timeline: Timeline) -> tuple[float, float]:
    return _LEFT + _PLOT + _RIGHT, _TOP + 14 + _ROW * len(timeline.bars) + 16


def _x(timeline: Timeline, ms: float) -> float:
    return _LEFT + _PLOT * min(1.0, ms / (timeline.total_ms or 1.0))


def _place(timeline: Timeline, number: int) -> tuple[float, float, float]:
    """Left, right (at least 1.5 pixels apart) and top of a bar."""
    bar = timeline.bars[number]
    x0 = _x(timeline, bar.start_ms)
    return x0, max(x0 + 1.5, _x(timeline, bar.end_ms)), _TOP + 14 + _ROW * number


def _ticks(timeline: Timeline) -> list[tuple[float, float]]:
    steps = (timeline.total_ms * n / _TICKS for n in range(_TICKS + 1))
    return [(ms, _x(timeline, ms)) for ms in steps]


def _colour(bar: Bar) -> str:
    return _COLOURS[bar.kind] if bar.ok else _BAD


def _label(bar: Bar) -> str:
    name = " ".join(_clean(bar.name).split())
    return name if len(name) <= _LABEL_CHARS else name[: _LABEL_CHARS - 1] + "…"


def _told(bar: Bar) -> str:
    parts = [f"{bar.kind} {bar.name}: {_time(bar.end_ms - bar.start_ms)}"]
    if bar.first_token_ms is not None:
        parts.append(f"first token after {_first(bar)}")
    return ", ".join([*parts, *([bar.note] if bar.note else [])])


def _first(bar: Bar) -> str:
    return "" if bar.first_token_ms is None else _time(bar.first_token_ms - bar.start_ms)


def _time(ms: float) -> str:
    if ms < 10:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def _clean(text: str) -> str:
    """No character that XML forbids or that a terminal would act on."""
    return "".join(c if c.isprintable() or c == " " else "\ufffd" for c in text)


def _svg_text(x: float, y: float, text: str, more: str = "") -> str:
    fill = "" if "fill=" in more else f' fill="{_INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{fill} {more}>{escape(_clean(text))}</text>'
