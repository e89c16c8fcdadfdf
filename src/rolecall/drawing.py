"""Draws a graph offline, in layers by distance from the start: ASCII, mermaid, SVG, PNG."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from rolecall.walk import Walk

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

_BOX_HEIGHT, _CHAR_WIDTH, _PADDING = 36.0, 8.5, 24.0
_MARGIN, _LAYER_GAP, _BOX_GAP = 24.0, 64.0, 56.0
_INK, _PAPER, _FILL, _LINE = "#1f2937", "#ffffff", "#eef2ff", "#6b7280"
_VISITED, _WALKED = "#fde68a", "#b45309"

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A node: its centre and size in pixels, its layer (0 is the start)."""

    name: str
    x: float
    y: float
    width: float
    layer: int
    visited: bool = False


@dataclass(frozen=True)
class Arrow:
    """An edge; dashed when it is chosen at run time, both ways when its twin exists."""

    source: Box
    target: Box
    dashed: bool
    both_ways: bool
    visited: bool = False

    @property
    def ends(self) -> tuple[Point, Point]:
        """Where the line begins and ends: on the sides of the boxes that face each other."""
        a, b = self.source, self.target
        if a.layer == b.layer:
            side = 1 if b.x > a.x else -1
            return (a.x + side * a.width / 2, a.y), (b.x - side * b.width / 2, b.y)
        side = 1 if b.y > a.y else -1
        half = side * _BOX_HEIGHT / 2
        return (a.x, a.y + half), (b.x, b.y - half)


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows, and the size of the paper, in pixels."""

    boxes: list[Box]
    arrows: list[Arrow]
    width: float
    height: float


def draw_graph(graph: Graph, form: str, path: Sequence[str] = ()) -> bytes:
    """A graph as ``ascii``, ``mermaid``, ``svg`` or ``png``.

    Args:
        graph: what is drawn.
        form: the format.
        path: the nodes that a run went through, in order: they and the edges between stand out.
    """
    walk = Walk.through(graph, path)
    if form == "mermaid":
        return walk.marked(graph.draw_mermaid()).encode()
    picture = lay_out(graph, walk)
    if form == "ascii":
        return to_ascii(picture).encode()
    return to_svg(picture).encode() if form == "svg" else to_png(picture)


def lay_out(graph: Graph, walk: Walk | None = None) -> Picture:
    """Place each node in the layer of its shortest distance from the first node."""
    walk = walk or Walk()
    layers = _layers(graph)
    rows: dict[int, list[str]] = {}
    for name, layer in layers.items():
        rows.setdefault(layer, []).append(name)
    widths = {name: len(_label(name)) * _CHAR_WIDTH + _PADDING for name in layers}
    spans = {
        layer: sum(widths[name] for name in row) + _BOX_GAP * (len(row) - 1)
        for layer, row in rows.items()
    }
    paper = max(spans.values()) + 2 * _MARGIN
    boxes: dict[str, Box] = {}
    for layer, row in rows.items():
        left = (paper - spans[layer]) / 2
        y = _MARGIN + _BOX_HEIGHT / 2 + layer * (_BOX_HEIGHT + _LAYER_GAP)
        for name in row:
            x, visited = left + widths[name] / 2, name in walk.nodes
            boxes[name] = Box(_label(name), x, y, widths[name], layer, visited)
            left += widths[name] + _BOX_GAP
    pairs = {(edge.source, edge.target) for edge in graph.edges}
    arrows: list[Arrow] = [
        Arrow(
            boxes[s],
            boxes[t],
            edge.conditional,
            (t, s) in pairs,
            (s, t) in walk.edges or ((t, s) in walk.edges and (t, s) in pairs),
        )
        for edge in graph.edges
        for s, t in [(edge.source, edge.target)]
        if (t, s) not in pairs or (layers[s], s) < (layers[t], t)
    ]
    height = 2 * _MARGIN + (max(rows) + 1) * (_BOX_HEIGHT + _LAYER_GAP) - _LAYER_GAP
    return Picture(list(boxes.values()), arrows, paper, height)


def _layers(graph: Graph) -> dict[str, int]:
    first = next(iter(graph.nodes))
    layers = {first: 0}
    waiting = deque([first])
    while waiting:
        name = waiting.popleft()
        for edge in graph.edges:
            if edge.source == name and edge.target not in layers:
                layers[edge.target] = layers[name] + 1
                waiting.append(edge.target)
    order = list(graph.nodes)
    reached = sorted(layers, key=lambda name: (layers[name], order.index(name)))
    return {name: layers[name] for name in reached}


def _label(name: str) -> str:
    return name.strip("_") if name.startswith("__") else name


# --- ASCII ----------------------------------------------------------------------------------------

_COLUMN, _ROWS_PER_LAYER = _CHAR_WIDTH, 8


def to_ascii(picture: Picture) -> str:
    """The picture in characters: ``.`` lines are chosen at run time, ``#`` is where a run went."""
    columns = int(picture.width / _COLUMN) + 2
    rows = (max(box.layer for box in picture.boxes) + 1) * _ROWS_PER_LAYER
    canvas = [[" "] * columns for _ in range(rows)]
    for arrow in _visited_last(picture.arrows):
        cells = list(_cells(arrow))
        for column, row in cells:
            canvas[row][column] = "#" if arrow.visited else "." if arrow.dashed else "|"
        level = arrow.source.layer == arrow.target.layer
        forward = ">" if arrow.target.x > arrow.source.x else "<"
        column, row = cells[-1]
        canvas[row][column] = forward if level else "v"
        if arrow.both_ways:
            column, row = cells[0]
            canvas[row][column] = "^"
    for box in picture.boxes:
        top, left = box.layer * _ROWS_PER_LAYER, int(box.x / _COLUMN) - len(box.name) // 2 - 2
        across, side = ("#", "#") if box.visited else ("-", "|")
        corner = "#" if box.visited else "+"
        edge = corner + across * (len(box.name) + 2) + corner
        for offset, line in enumerate((edge, f"{side} {box.name} {side}", edge)):
            canvas[top + offset][left : left + len(line)] = line
    lines = ["".join(row).rstrip() for row in canvas]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def _cells(arrow: Arrow) -> Iterator[tuple[int, int]]:
    a, b = arrow.source, arrow.target
    if a.layer == b.layer:
        (x0, _), (x1, _) = arrow.ends
        step = 1 if x1 > x0 else -1
        row = a.layer * _ROWS_PER_LAYER + 1
        for column in range(int(x0 / _COLUMN) + step, int(x1 / _COLUMN), step):
            yield column, row
        return
    first = a.layer * _ROWS_PER_LAYER + 3
    last = b.layer * _ROWS_PER_LAYER - 1
    for row in range(first, last + 1):
        share = (row - first + 1) / (last - first + 2)
        yield int((a.x + (b.x - a.x) * share) / _COLUMN), row


# --- SVG and PNG ----------------------------------------------------------------------------------


def to_svg(picture: Picture) -> str:
    """The picture as an SVG document, no fonts or links from elsewhere."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width:.0f}" '
        f'height="{picture.height:.0f}" font-family="sans-serif" font-size="14">',
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
    ]
    for arrow in _visited_last(picture.arrows):
        (x0, y0), (x1, y1) = arrow.ends
        line, width = (_WALKED, 3.0) if arrow.visited else (_LINE, 1.4)
        dash = ' stroke-dasharray="5 4"' if arrow.dashed else ""
        parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
            f'stroke="{line}" stroke-width="{width}"{dash}/>'
        )
        for tip in _tips(arrow, 9.0):
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in tip)
            parts.append(f'<polygon points="{corners}" fill="{line}"/>')
    for box in picture.boxes:
        parts.append(
            f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - _BOX_HEIGHT / 2:.1f}" rx="8" '
            f'width="{box.width:.1f}" height="{_BOX_HEIGHT:.1f}" fill="{_fill(box)}" '
            f'stroke="{_INK}"/><text x="{box.x:.1f}" y="{box.y + 5:.1f}" fill="{_INK}" '
            f'text-anchor="middle">{escape(box.name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def to_png(picture: Picture, scale: float = 2.0) -> bytes:
    """The picture as PNG bytes, ``scale`` pixels to one of the layout."""
    from PIL import Image, ImageDraw, ImageFont

    size = (round(picture.width * scale), round(picture.height * scale))
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=14 * scale)
    for arrow in _visited_last(picture.arrows):
        line = _WALKED if arrow.visited else _LINE
        start, end = (tuple(c * scale for c in point) for point in arrow.ends)
        _draw_line(draw, start, end, scale, arrow)
        for tip in _tips(arrow, 9.0):
            draw.polygon([(x * scale, y * scale) for x, y in tip], fill=line)
    for box in picture.boxes:
        half_width, half_height = box.width / 2, _BOX_HEIGHT / 2
        corners = (box.x - half_width, box.y - half_height, box.x + half_width, box.y + half_height)
        draw.rounded_rectangle(
            [c * scale for c in corners], 8 * scale, _fill(box), outline=_INK, width=round(scale)
        )
        draw.text((box.x * scale, box.y * scale), box.name, fill=_INK, font=font, anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _draw_line(draw: Any, start: Any, end: Any, scale: float, arrow: Arrow) -> None:
    line, thick = (_WALKED, 3.0) if arrow.visited else (_LINE, 1.4)
    width = max(1, round(thick * scale))
    if not arrow.dashed:
        draw.line([start, end], fill=line, width=width)
        return
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    dashes = max(1, round(length / (9 * scale)))
    for index in range(dashes):
        share, until = index / dashes, (index + 0.55) / dashes
        draw.line([_between(start, end, share), _between(start, end, until)], line, width)


def _visited_last(arrows: list[Arrow]) -> list[Arrow]:
    """So that what stands out is drawn over the rest."""
    return sorted(arrows, key=lambda arrow: arrow.visited)


def _fill(box: Box) -> str:
    return _VISITED if box.visited else _FILL


def _tips(arrow: Arrow, size: float) -> list[list[Point]]:
    start, end = arrow.ends
    towards = [(start, end), (end, start)] if arrow.both_ways else [(start, end)]
    return [_tip(before, point, size) for before, point in towards]


def _tip(before: Point, end: Point, size: float) -> list[Point]:
    length = ((end[0] - before[0]) ** 2 + (end[1] - before[1]) ** 2) ** 0.5 or 1.0
    dx, dy = (end[0] - before[0]) / length, (end[1] - before[1]) / length
    base, half = (end[0] - dx * size, end[1] - dy * size), size * 0.4
    return [
        end,
        (base[0] - dy * half, base[1] + dx * half),
        (base[0] + dy * half, base[1] - dx * half),
    ]


def _between(start: Any, end: Any, share: float) -> Point:
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)
