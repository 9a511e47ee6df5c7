"""What stands behind each column: the whole identity of every metric."""
from __future__ import annotations

from reports.marks import protocol_id
from reports.material import Material
from reports.table import Row, Table


def protocols(material: Material) -> list[Table]:
    """Checksum and identity of each metric of the evidence, in the order of its settings."""
    evidence = material.evidence
    found: dict[str, None] = {}
    for setting in evidence.settings:
        for metric in evidence.metrics(setting):
            found.update(dict.fromkeys(evidence.identities(setting, metric)))
    rows = [Row(label=protocol_id(identity), group=identity, entries={}) for identity in found]
    return [
        Table(
            name="protocols", title="Protocols", columns=[], rows=rows, first="protocol",
            caption="Protocols: a metric's version, colours, crop, frames, aggregation, backend and source.",
        )
    ]  # fmt: skip
