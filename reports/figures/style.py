"""One look for all figures: colours that the colour-blind tell apart (Okabe and Ito 2008), and never colour alone."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
GREYS = ("#000000", "#5A5A5A", "#8C8C8C")
WIDTH = 7.0
"""Inches of a figure that is as wide as a page."""
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
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


def looks(variants: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Variant to colour, marker and dashes, in the order of the evidence; baselines are grey."""
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


def page(rows: int, height: float = 3.2, width: float = WIDTH) -> Figure:
    """An empty figure, high enough for a legend of so many rows beside its axes."""
    return Figure(figsize=(width, max(height, 0.16 * rows + 0.6)))


def shorten(text: str, most: int = 34) -> str:
    """A name for a legend: the middle of one that is too long is left out, and a dollar begins no formula."""
    text = text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"
    return text.replace("$", r"\$")
