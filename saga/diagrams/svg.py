"""A small SVG writer: shapes, text, and one style for every picture, in light and in dark.

A picture is one file without scripts, fonts or links to anywhere. Colour only repeats what shape,
weight, line style or words already say. Text comes in as it is and is made harmless here.
"""

from collections.abc import Sequence
from string import Template
from typing import Final

from saga.diagrams.text import escape

_LIGHT: Final = {
    "paper": "#ffffff", "ink": "#1b2430", "soft": "#5a6675", "faint": "#c3cad3", "card": "#f4f6f9",
    "lit": "#0b5cad", "litbox": "#e3effb", "good": "#17703c", "goodbox": "#e4f4ea",
    "warn": "#8a4b00", "warnbox": "#fdf1dc", "bad": "#a8201a", "badbox": "#fce8e6",
}  # fmt: skip
_DARK: Final = {
    "paper": "#12171e", "ink": "#e8edf3", "soft": "#a3afbd", "faint": "#46515f", "card": "#1b222c",
    "lit": "#7ab8ff", "litbox": "#16304d", "good": "#74d199", "goodbox": "#14301f",
    "warn": "#f0b45c", "warnbox": "#38280d", "bad": "#ff9c94", "badbox": "#421a17",
}  # fmt: skip

SANS: Final = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
MONO: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

ROOT_CLASS: Final = "trade-saga"
"""Every rule of the style begins with it, so that a page that holds the picture is left alone."""

_RULES: Final = (
    ("", f"font-family:{SANS};font-size:13px"),
    ("text", "fill:$ink;stroke:none"),
    (".paper", "fill:$paper;stroke:none"),
    (".mono", f"font-family:{MONO}"),
    (".soft", "fill:$soft"),
    (".bold", "font-weight:700"),
    (".box", "fill:$card;stroke:$ink;stroke-width:1.6"),
    (".rim", "fill:none;stroke:$ink;stroke-width:1.2"),
    (".line", "fill:none;stroke:$ink;stroke-width:1.6;stroke-linejoin:round"),
    (".thin", "stroke-width:1.2"),
    (".head", "fill:$ink;stroke:none"),
    (".pill", "fill:$paper;stroke:none"),
    (".rule", "fill:none;stroke:$faint;stroke-width:1"),
    (".dashed", "stroke-dasharray:5 4"),
    (".cut", "stroke:$warn;stroke-width:1.4;stroke-dasharray:3 3"),
    (".dim .box", "fill:$paper;stroke:$faint;stroke-dasharray:4 4"),
    (".dim .rim,.dim .line", "stroke:$faint;stroke-dasharray:4 4;stroke-width:1.3"),
    (".dim .head", "fill:$faint"),
    (".dim text", "fill:$soft"),
    (".lit .box", "fill:$litbox;stroke:$lit;stroke-width:2.6"),
    (".lit .rim", "stroke:$lit"),
    (".lit .line", "stroke:$lit;stroke-width:3.2"),
    (".lit .head", "fill:$lit"),
    (".lit .pill", "fill:$litbox;stroke:$lit;stroke-width:1.2"),
    (".good", "fill:$goodbox;stroke:$good;stroke-width:1.4"),
    (".warn", "fill:$warnbox;stroke:$warn;stroke-width:1.4;stroke-dasharray:3 3"),
    (".bad", "fill:$badbox;stroke:$bad;stroke-width:2.2"),
    (".calm", "fill:$card;stroke:$soft;stroke-width:1"),
    (".undo", "fill:$litbox;stroke:$lit;stroke-width:1.4"),
)


def _style() -> str:
    # Colours are written out for both schemes: not every reader of SVG knows CSS variables.
    light = [_rule(selector, rule, _LIGHT) for selector, rule in _RULES]
    coloured = [(selector, _coloured(rule)) for selector, rule in _RULES if "$" in rule]
    dark = [_rule(selector, rule, _DARK) for selector, rule in coloured]
    return "\n".join([*light, "@media(prefers-color-scheme:dark){", *dark, "}"])


def _rule(selector: str, rule: str, colours: dict[str, str]) -> str:
    parts = [f".{ROOT_CLASS} {part}".rstrip() for part in selector.split(",")]
    return f"{','.join(parts)}{{{Template(rule).substitute(colours)}}}"


def _coloured(rule: str) -> str:
    return ";".join(part for part in rule.split(";") if "$" in part)


def number(value: float) -> str:
    """Return a coordinate with at most one digit behind the point, the same everywhere."""
    text = f"{value:.1f}"
    return text.removesuffix(".0")


class Drawing:
    """A picture in the making: shapes are added in the order in which they are painted."""

    def __init__(self, name: str, width: float, title: str, description: str) -> None:
        """Begin a picture.

        Args:
            name: the beginning of its ids.
            width: in pixels.
            title: what it is, for readers that do not see it.
            description: what it shows, for the same.
        """
        self._name = name
        self._width = width
        self._title = title
        self._description = description
        self._parts: list[str] = []

    def open_group(
        self,
        *,
        group_id: str | None = None,
        css: str = "",
        title: str | None = None,
        shift: tuple[float, float] | None = None,
    ) -> None:
        """Begin a group; `title` is shown where a pointer rests on it, `shift` moves it."""
        attributes = f' id="{escape(group_id)}"' if group_id else ""
        if shift is not None:
            attributes += f' transform="translate({number(shift[0])} {number(shift[1])})"'
        attributes += f' class="{css}"' if css else ""
        self._parts.append(f"<g{attributes}>")
        if title is not None:
            self._parts.append(f"<title>{escape(title)}</title>")

    def close_group(self) -> None:
        """End the group that was begun last."""
        self._parts.append("</g>")

    def rect(
        self, x: float, y: float, width: float, height: float, css: str, *, radius: float = 0
    ) -> None:
        """Add a rectangle."""
        rounded = f' rx="{number(radius)}"' if radius else ""
        self._parts.append(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" '
            f'height="{number(height)}"{rounded} class="{css}"/>'
        )

    def circle(self, x: float, y: float, radius: float, css: str) -> None:
        """Add a disc."""
        self._parts.append(
            f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{css}"/>'
        )

    def path(self, data: str, css: str) -> None:
        """Add a path; `data` is made by this package alone."""
        self._parts.append(f'<path d="{data}" class="{css}"/>')

    def text(
        self, x: float, y: float, text: str, *, size: float = 13, css: str = "", anchor: str = ""
    ) -> None:
        """Add a line of text; `anchor` is middle or end, the start by default."""
        attributes = f' class="{css}"' if css else ""
        attributes += f' text-anchor="{anchor}"' if anchor else ""
        self._parts.append(
            f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}"{attributes}>'
            f"{escape(text)}</text>"
        )

    def document(self, height: float) -> str:
        """Return the whole picture as an SVG document of that height in pixels."""
        title, description = f"{self._name}-title", f"{self._name}-desc"
        box = f"0 0 {number(self._width)} {number(height)}"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" class="{ROOT_CLASS}" role="img" '
                f'viewBox="{box}" width="{number(self._width)}" height="{number(height)}" '
                f'aria-labelledby="{title} {description}">',
                f'<title id="{title}">{escape(self._title)}</title>',
                f'<desc id="{description}">{escape(self._description)}</desc>',
                f"<style>\n{_style()}\n</style>",
                '<rect width="100%" height="100%" rx="10" class="paper"/>',
                *self._parts,
                "</svg>",
                "",
            ]
        )


def rounded_path(points: Sequence[tuple[float, float]], radius: float, short: float = 0) -> str:
    """Return path data along right-angled points, with round corners.

    Args:
        points: at least two, each straight above, below or beside the one before.
        radius: of the corners, in pixels.
        short: how many pixels the last piece ends early, for an arrow's head.
    """
    corners = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        if (before[0] == after[0]) or (before[1] == after[1]):
            continue
        corners.append(here)
    end = toward(points[-1], points[-2], short) if short else points[-1]
    corners.append(end)
    data = [f"M{number(corners[0][0])} {number(corners[0][1])}"]
    for before, here, after in zip(corners, corners[1:], corners[2:], strict=False):
        into, out = toward(here, before, radius), toward(here, after, radius)
        data.append(f"L{number(into[0])} {number(into[1])}")
        data.append(f"Q{number(here[0])} {number(here[1])} {number(out[0])} {number(out[1])}")
    data.append(f"L{number(end[0])} {number(end[1])}")
    return "".join(data)


def toward(
    point: tuple[float, float], other: tuple[float, float], by: float
) -> tuple[float, float]:
    """Return the point moved towards another on the same row or column, at most half way."""
    dx, dy = other[0] - point[0], other[1] - point[1]
    length = abs(dx) + abs(dy)
    if not length:
        return point
    share = min(by, length / 2) / length
    return (point[0] + dx * share, point[1] + dy * share)


def head_path(tip: tuple[float, float], before: tuple[float, float], size: float) -> str:
    """Return path data of an arrow's head that points from `before` to `tip`."""
    dx, dy = tip[0] - before[0], tip[1] - before[1]
    length = abs(dx) + abs(dy) or 1
    ux, uy = dx / length, dy / length
    base = (tip[0] - ux * size, tip[1] - uy * size)
    half = size * 0.5
    left = (base[0] - uy * half, base[1] + ux * half)
    right = (base[0] + uy * half, base[1] - ux * half)
    corners = " ".join(f"{number(x)} {number(y)}" for x, y in (tip, left, right))
    first, rest = corners.split(" ", 2)[:2], corners.split(" ", 2)[2]
    return f"M{first[0]} {first[1]}L{rest}Z"
