"""The model card that a saved pipeline gets."""
from __future__ import annotations

from importlib import resources
from string import Template
from typing import Any

import yaml

from patchvsr.upscaler import Weights

STATUS = {
    "trained": "Base and adapter were loaded from trained weights.",
    "untrained": (
        "At least one of base and adapter has random weights: this repository is a skeleton for training and tests, "
        "and its output shows nothing of the method's quality."
    ),
    "none": "This variant has no trained parts.",
}


def model_card(spec: dict[str, Any], weights: Weights, repo: str, dtype: str, licence: str | None) -> str:
    """A model card as Markdown with metadata that hubs read.

    Args:
        spec: the resolved variant, as plain values.
        weights: status and hashes of the weights.
        repo: what `from_pretrained` is to be given.
        dtype: torch's name of the dtype that the weights are saved in.
        licence: identifier of the weights' licence, such as `apache-2.0`; None leaves the field out and says so.
    """
    tags = ["patchvsr", "video-super-resolution", "diffusion"]
    if weights.status == "untrained":
        tags.append("untrained")
    metadata: dict[str, Any] = {"library_name": "diffusers", "pipeline_tag": "video-to-video", "tags": tags}
    if licence is not None:
        metadata = {"license": licence} | metadata
    rows = [f"| `{key}` | {_cell(value)} |" for key, value in spec.items()]
    hashes = [f"| {name} | `{digest}` |" for name, digest in weights.sha256.items()]
    text = Template((resources.files("patchvsr") / "model_card.md").read_text(encoding="utf-8")).substitute(
        title=repo.rstrip("/").rpartition("/")[2] or "PatchVSR",
        variant=spec["name"],
        base=spec["base"],
        status=weights.status,
        status_text=STATUS[weights.status],
        hashes="\n".join(["| loaded from | SHA-256 |", "|---|---|", *hashes]) if hashes else "",
        repo=repo,
        dtype=dtype,
        table="\n".join(["| field | value |", "|---|---|", *rows]),
        licence=f"`{licence}`" if licence is not None else "Not stated by whoever saved these weights.",
    )
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n\n{text}"


def _cell(value: Any) -> str:
    if value == "":
        return "the base's own"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
