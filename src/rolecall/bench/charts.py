"""Bars with intervals, and points: SVG, drawn by hand so that a report needs nothing else."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

_FONT = "font-family='system-ui,sans-serif' font-size='12'"
_CHARACTER, _PLOT, _ROW = 7, 420, 22
_WIDTH, _HEIGHT, _EDGE = 760, 380, 50
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#97266d", "#2c7a7b", "#718096")


def bars(values: Sequence[tuple[str, float, float, float]]) -> str:
    """Horizontal bars of ``(label, share, low, high)``, all from 0 to 1."""
    labels = 24 + _CHARACTER * max(len(label) for label, *_ in values)
    height = _ROW * len(values) + 30
    parts = [_open(labels + _PLOT + 60, height)]
    for tick in range(0, 101, 25):
        x = labels + _PLOT * tick / 100
        parts.append(_line(x, 0, x, height - 24, "#ddd"))
        parts.append(_text(x, height - 8, f"{tick} %", "middle"))
    for place, (label, share, low, high) in enumerate(values):
        y = place * _ROW + 4
        middle = y + 7
        parts.append(_text(labels - 8, y + 11, label, "end"))
        parts.append(
            f"<rect x='{labels}' y='{y}' width='{_PLOT * share:.1f}' height='14' "
            f"fill='{_COLOURS[0]}' fill-opacity='.75'/>"
        )
        left, right = labels + _PLOT * low, labels + _PLOT * high
        parts.append(_line(left, middle, right, middle, "#222"))
        parts.append(_text(labels + _PLOT + 8, y + 11, f"{100 * share:.0f} %", "start"))
    return "".join([*parts, "</svg>"])


def scatter(points: Sequence[tuple[float, float, str]]) -> str:
    """Points of ``(seconds, share, label)``; seconds on a logarithmic axis."""
    low = math.floor(math.log10(min(x for x, _, _ in points)))
    high = max(math.ceil(math.log10(max(x for x, _, _ in points))), low + 1)
    legend = _ROW * len(points)
    parts = [_open(_WIDTH, _HEIGHT + legend)]
    across, down = _WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE
    for power in range(low, high + 1):
        x = _EDGE + across * (power - low) / (high - low)
        parts.append(_line(x, _EDGE, x, _EDGE + down, "#ddd"))
        parts.append(_text(x, _EDGE + down + 18, f"{10.0**power:g} s", "middle"))
    for tick in range(0, 101, 25):
        y = _EDGE + down * (1 - tick / 100)
        parts.append(_line(_EDGE, y, _EDGE + across, y, "#ddd"))
        parts.append(_text(_EDGE - 6, y + 4, f"{tick} %", "end"))
    for place, (seconds, share, label) in enumerate(points):
        colour = _COLOURS[place % len(_COLOURS)]
        x = _EDGE + across * (math.log10(seconds) - low) / (high - low)
        y = _EDGE + down * (1 - share)
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' fill='{colour}'/>")
        parts.append(_text(x + 9, y - 7, str(place + 1), "start"))
        row = _HEIGHT + place * _ROW
        parts.append(f"<circle cx='{_EDGE}' cy='{row}' r='6' fill='{colour}'/>")
        told = f"{place + 1}  {label}: {100 * share:.0f} %, {seconds:.2g} s"
        parts.append(_text(_EDGE + 14, row + 4, told, "start"))
    return "".join([*parts, "</svg>"])


def _open(width: float, height: float) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' "
        f"width='{width:g}' height='{height:g}' {_FONT}>"
        f"<rect width='{width:g}' height='{height:g}' fill='#fff'/>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' "
        f"stroke='{colour}' stroke-width='1.5'/>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='#222'>"
        f"{html.escape(text)}</text>"
    )
