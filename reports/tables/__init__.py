"""Tables of a report, found by name.

A table is a function of the report's material. A package, or a file named by `PATCHVSR_PLUGINS`, adds one:

    from reports.tables import tables

    @tables.register("mine")
    def mine(material: Material) -> list[Table]: ...

An empty list says that the table does not apply; a `NotHere` says why.
"""
from __future__ import annotations

from collections.abc import Callable

from patchvsr.registry import Registry
from reports.material import Material
from reports.table import Table

__all__ = ["Maker", "NotHere", "tables"]

Maker = Callable[[Material], list[Table]]


class NotHere(Exception):
    """A table or figure has nothing to show for this material; the text says why."""


tables: Registry[Maker] = Registry(
    "tables",
    {
        "quantitative": "reports.tables.quantitative:quantitative",
        "efficiency": "reports.tables.efficiency:efficiency",
        "studies": "reports.tables.studies:studies",
        "differences": "reports.tables.differences:differences",
        "claims": "reports.tables.studies:claims",
        "scale": "reports.tables.scale:scale",
        "reported": "reports.tables.paper:paper",
        "protocols": "reports.tables.protocols:protocols",
    },
)
ORDER = ("quantitative", "studies", "differences", "claims", "scale", "efficiency", "reported", "protocols")
"""In which tables stand in a report; those that others add come after `efficiency`."""
