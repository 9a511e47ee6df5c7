"""Figures of a report, found by name.

A figure is a function of the report's material. A package, or a file named by `PATCHVSR_PLUGINS`, adds one:

    from reports.figures import Figure, figures

    @figures.register("mine")
    def mine(material: Material) -> list[Figure]: ...

An empty list, or `reports.tables.NotHere` with a reason, says that it does not apply.
"""
from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchvsr.registry import Registry
from reports.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

DPI = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure, not drawn yet.

    Attributes:
        name: of its files.
        title: a line.
        caption: what is shown, on what, and how it was made.
        draw: makes it; called within the style of `reports.figures.style`.
        data: the rows that are plotted; empty for pictures.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Canvas]
    data: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A figure on the disk."""

    name: str
    title: str
    caption: str
    png: Path
    pdf: Path


Maker = Callable[[Material], list[Figure]]
figures: Registry[Maker] = Registry(
    "figures",
    {
        "pareto": "reports.figures.pareto:pareto",
        "ranks": "reports.figures.ranks:ranks",
        "crops": "reports.figures.crops:crops",
        "frames": "reports.figures.frames:frames",
        "seams": "reports.figures.seams:seams",
        "slices": "reports.figures.slices:slices",
        "cost": "reports.figures.cost:cost",
    },
)


def save(figure: Figure, folder: Path, dpi: int = DPI) -> Saved:
    """Draw a figure; write PDF (vector), PNG and the CSV of what is plotted. Equal figures give equal bytes."""
    from reports.figures.style import styled

    pdf, png = folder / f"{figure.name}.pdf", folder / f"{figure.name}.png"
    with styled():
        canvas = figure.draw()
        canvas.savefig(pdf, dpi=dpi, metadata={"CreationDate": None, "Creator": None, "Producer": None})
        canvas.savefig(png, dpi=dpi, metadata={"Software": None})
    if figure.data:
        with (folder / f"{figure.name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(figure.data[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(figure.data)
    return Saved(name=figure.name, title=figure.title, caption=figure.caption, png=png, pdf=pdf)
