"""One look for all figures: colours that the colour-blind tell apart (Okabe and Ito 2008), and never colour alone."""
from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.material import Material
from reports.write import ARROWS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
GREYS = ("#000000", "#5A5A5A", "#8C8C8C")
WIDTH = 7.0
"""Inches of a figure that is as wide as a page."""
SMALL = 7
"""Points of names, in legends and beside pictures."""
LINES = 3
"""On so many lines a long name is set; the middle of a longer one is left out."""
_FONT = "DejaVu Sans"
_LINE = 1.25 * SMALL / 72
_STYLE: Any = {
    "font.family": _FONT,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
    "text.usetex": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style; other figures of the process keep theirs."""
    with matplotlib.rc_context(_STYLE):
        yield


def looks_of(material: Material, others: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """How every variant of the evidence looks, the same in all of its figures; `others` come after these."""
    evidence = material.evidence
    return looks(list(dict.fromkeys([v for s in evidence.settings for v in evidence.variants(s)] + list(others))))


def looks(variants: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Variant to colour, marker and dashes, in this order; baselines are grey."""
    from patchvsr.upscaler import upscalers

    found: dict[str, dict[str, Any]] = {}
    own = grey = 0
    for variant in variants:
        baseline = variant.partition(":")[0] in upscalers
        index, colours = (grey, GREYS) if baseline else (own, COLOURS)
        grey, own = grey + baseline, own + (not baseline)
        found[variant] = {
            "color": colours[index % len(colours)],
            "marker": MARKERS[(index + index // len(colours)) % len(MARKERS)],
            "linestyle": DASHES[(index // len(colours)) % len(DASHES)],
        }
    return found


def page(names: Mapping[str, str], height: float = 3.2, width: float = WIDTH) -> Figure:
    """An empty figure, high enough for a legend of these names beside its axes."""
    needed = sum(_LINE * (name.count("\n") + 1) + 0.05 for name in names.values())
    return Figure(figsize=(width, max(height, needed + 0.3)))


def legend(figure: Figure, names: Mapping[str, str], handles: Mapping[str, Any]) -> None:
    """A legend right of the axes: the names of what was drawn, in their order."""
    drawn = [key for key in names if key in handles]
    figure.legend([handles[key] for key in drawn], [names[key] for key in drawn], loc="outside right upper")


def names_of(material: Material, variants: Sequence[str], width: float = 2.1) -> dict[str, str]:
    """Variant to what it is called in a figure, broken into lines of so many inches; no two are called alike."""
    found: dict[str, str] = {}
    for variant in variants:
        name, number = in_lines(material.label(variant), width), 1
        while name in found.values():
            number += 1
            name = in_lines(f"#{number} {material.label(variant)}", width)
        found[variant] = name
    return found


def in_lines(text: str, width: float, lines: int = LINES) -> str:
    """A name as matplotlib shall draw it.

    Args:
        text: any, also with characters that the font has not.
        width: inches of a line, at the size of names.
        lines: at most; of a longer text the middle is left out.
    """
    plain = printable(text)
    shown, kept = _broken(plain, width), len(plain)
    while len(shown) > lines:
        kept = int(0.95 * kept) - 1
        shown = _broken(f"{plain[: kept // 2]}…{plain[-(kept // 2) :]}", width)
    return "\n".join(line.replace("$", r"\$") for line in shown)  # a dollar begins no formula


def printable(text: str) -> str:
    """Text on one line; characters that the font has not, by their number."""
    known = get_font(findfont(_FONT)).get_charmap()
    plain = "".join(c if ord(c) in known else f"(U+{ord(c):04X})" for c in " ".join(text.split()))
    return f"\u200a{plain}" if plain.startswith("_") else plain  # legends pass over names that begin with _


def _broken(text: str, width: float) -> list[str]:
    """Lines, broken after signs that variants are written with, or anywhere where there is none."""
    lines, filled = [""], 0.0
    for piece in re.findall(r"[^,:/ ]+[,:/ ]*|[,:/ ]+", text):
        if filled + sum(map(_inches, piece.rstrip())) > width and lines[-1]:
            lines, filled = [*lines, ""], 0.0
        for character in piece:
            if filled + _inches(character) > width and lines[-1]:
                lines, filled = [*lines, ""], 0.0
            lines[-1] += character
            filled += _inches(character)
    return [line.rstrip() for line in lines]


@cache
def _inches(character: str) -> float:
    font = get_font(findfont(_FONT))
    font.set_size(SMALL, 72)
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 72


def heading(material: Material, metric: str, setting: str | None = None) -> str:
    """A metric's name, its unit, and an arrow that says which way is better where that is known."""
    unit = "" if setting is None else material.evidence.unit(setting, metric)
    words = [metric, f"({unit})" if unit else "", ARROWS.get(material.evidence.direction(metric) or "", "")]
    return in_lines(" ".join(filter(None, words)), 1.8, 2)


def logarithmic(axis: Axis, values: Sequence[float]) -> None:
    """A logarithmic axis for these values with plain numbers at its ticks; linear where they hardly differ."""
    decades = math.log10(max(values) / min(values))
    if decades < 0.15:
        return
    if axis is axis.axes.xaxis:
        axis.axes.set_xscale("log")
    else:
        axis.axes.set_yscale("log")
    subs = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 0.9 else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def told(what: str, reasons: Mapping[str, str], most: int = 4) -> str:
    """A sentence for a caption on what is left out and why, with a blank before it; empty where nothing is."""
    listed = [f"{name} ({why})" for name, why in reasons.items()]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f" {what}: {', '.join(listed[:most])}{more}." if listed else ""
