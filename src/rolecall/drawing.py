"""Draws a graph offline: mermaid and ascii by LangChain, SVG and PNG laid out by grandalf."""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

_BOX_HEIGHT = 36.0
_CHAR_WIDTH = 8.5
_MARGIN = 24.0
_LAYER_GAP = 56.0
_INK, _PAPER, _FILL, _PALE = "#1f2937", "#ffffff", "#eef2ff", "#6b7280"


@dataclass(frozen=True)
class Box:
    """A node: its centre and size, in pixels."""

    name: str
    x: float
    y: float
    width: float
    height: float = _BOX_HEIGHT


@dataclass(frozen=True)
class Arrow:
    """An edge between two boxes; dashed when the graph decides at run time."""

    points: tuple[tuple[float, float], ...]
    dashed: bool


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows, and the size of the paper, in pixels."""

    boxes: list[Box]
    arrows: list[Arrow]
    width: float
    height: float


def draw_graph(graph: Graph, form: str) -> bytes:
    """A graph as ``ascii``, ``mermaid``, ``svg`` or ``png``."""
    if form == "mermaid":
        return graph.draw_mermaid().encode()
    if form == "ascii":
        return (graph.draw_ascii() + "\n").encode()
    picture = lay_out(graph)
    return to_svg(picture).encode() if form == "svg" else to_png(picture)


def lay_out(graph: Graph) -> Picture:
    """Place nodes in layers (Sugiyama, Tagawa, Toda 1981, as grandalf implements it)."""
    from grandalf.graphs import Edge, Vertex
    from grandalf.graphs import Graph as Layered
    from grandalf.layouts import SugiyamaLayout

    vertices = {name: Vertex(name) for name in graph.nodes}
    for name, vertex in vertices.items():
        vertex.view = _View(len(_label(name)) * _CHAR_WIDTH + 24.0)
    edges = [Edge(vertices[e.source], vertices[e.target]) for e in graph.edges]
    component = Layered(list(vertices.values()), edges).C[0]
    layout = SugiyamaLayout(component)
    layout.yspace = _LAYER_GAP
    layout.init_all(roots=[vertices[next(iter(graph.nodes))]])
    layout.draw()
    left = min(v.view.xy[0] - v.view.w / 2 for v in vertices.values()) - _MARGIN * 3
    top = min(v.view.xy[1] for v in vertices.values()) - _BOX_HEIGHT / 2 - _MARGIN
    boxes = {
        name: Box(_label(name), v.view.xy[0] - left, v.view.xy[1] - top, v.view.w)
        for name, v in vertices.items()
    }
    both = {(e.source, e.target) for e in graph.edges}
    arrows = [
        Arrow(
            _route(boxes[e.source], boxes[e.target], list(boxes.values()), (e.target, e.source) in both),
            e.conditional,
        )
        for e in graph.edges
    ]
    width = max(max(b.x + b.width / 2 for b in boxes.values()), _rightmost(arrows)) + _MARGIN
    height = max(b.y for b in boxes.values()) + _BOX_HEIGHT / 2 + _MARGIN
    return Picture(list(boxes.values()), arrows, width, height)


def to_svg(picture: Picture) -> str:
    """The picture as an SVG document, no fonts or links from elsewhere."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width:.0f}" '
        f'height="{picture.height:.0f}" font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" markerWidth="10" markerHeight="8" refX="9" refY="4" '
        f'orient="auto"><path d="M0,0 L10,4 L0,8 z" fill="{_PALE}"/></marker></defs>',
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
    ]
    for arrow in picture.arrows:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in arrow.points)
        dash = ' stroke-dasharray="5 4"' if arrow.dashed else ""
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{_PALE}" stroke-width="1.4"'
            f'{dash} marker-end="url(#tip)"/>'
        )
    for box in picture.boxes:
        parts.append(
            f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - box.height / 2:.1f}" rx="8" '
            f'width="{box.width:.1f}" height="{box.height:.1f}" fill="{_FILL}" '
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
    for arrow in picture.arrows:
        points = [(x * scale, y * scale) for x, y in arrow.points]
        for start, end in zip(points, points[1:], strict=False):
            _line(draw, start, end, scale, dashed=arrow.dashed)
        draw.polygon(_tip(points[-2], points[-1], 9 * scale), fill=_PALE)
    for box in picture.boxes:
        corners = [
            (box.x - box.width / 2) * scale,
            (box.y - box.height / 2) * scale,
            (box.x + box.width / 2) * scale,
            (box.y + box.height / 2) * scale,
        ]
        draw.rounded_rectangle(corners, 8 * scale, fill=_FILL, outline=_INK, width=round(scale))
        draw.text((box.x * scale, box.y * scale), box.name, fill=_INK, font=font, anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class _View:
    """What grandalf wants to know of a node, and where it puts it."""

    def __init__(self, width: float) -> None:
        self.w, self.h, self.xy = width, _BOX_HEIGHT, (0.0, 0.0)


def _label(name: str) -> str:
    return name.strip("_") if name.startswith("__") else name


def _route(
    source: Box, target: Box, boxes: list[Box], both_ways: bool
) -> tuple[tuple[float, float], ...]:
    """Straight down, moved aside for the way back, around boxes that stand between."""
    shift = 10.0 if both_ways else 0.0
    if target.y > source.y:
        start = (source.x - shift, source.y + source.height / 2)
        end = (target.x - shift, target.y - target.height / 2)
    else:
        start = (source.x + shift, source.y - source.height / 2)
        end = (target.x + shift, target.y + target.height / 2)
    if not any(_crosses(start, end, box) for box in boxes if box not in (source, target)):
        return (start, end)
    low, high = sorted((source.y, target.y))
    between = [b for b in boxes if low - 1 < b.y < high + 1]
    side = max(b.x + b.width / 2 for b in between) + 18.0
    return (
        (source.x + source.width / 2, source.y),
        (side, source.y + (target.y - source.y) * 0.25),
        (side, source.y + (target.y - source.y) * 0.75),
        (target.x + target.width / 2, target.y),
    )


def _crosses(start: tuple[float, float], end: tuple[float, float], box: Box) -> bool:
    for step in range(1, 24):
        t = step / 24
        x = start[0] + (end[0] - start[0]) * t
        y = start[1] + (end[1] - start[1]) * t
        if abs(x - box.x) < box.width / 2 + 4 and abs(y - box.y) < box.height / 2 + 4:
            return True
    return False


def _rightmost(arrows: list[Arrow]) -> float:
    return max(x for arrow in arrows for x, _ in arrow.points)


def _line(
    draw: Any, start: tuple[float, float], end: tuple[float, float], scale: float, *, dashed: bool
) -> None:
    width = max(1, round(1.4 * scale))
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    if not dashed or length == 0:
        draw.line([start, end], fill=_PALE, width=width)
        return
    dash, gap, at = 5 * scale, 4 * scale, 0.0
    while at < length:
        stop = min(at + dash, length)
        draw.line([_along(start, end, at / length), _along(start, end, stop / length)], _PALE, width)
        at += dash + gap


def _along(start: tuple[float, float], end: tuple[float, float], t: float) -> tuple[float, float]:
    return (start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t)


def _tip(before: tuple[float, float], end: tuple[float, float], size: float) -> list[tuple[float, float]]:
    length = ((end[0] - before[0]) ** 2 + (end[1] - before[1]) ** 2) ** 0.5 or 1.0
    dx, dy = (end[0] - before[0]) / length, (end[1] - before[1]) / length
    base = (end[0] - dx * size, end[1] - dy * size)
    half = size * 0.4
    return [end, (base[0] - dy * half, base[1] + dx * half), (base[0] + dy * half, base[1] - dx * half)]
