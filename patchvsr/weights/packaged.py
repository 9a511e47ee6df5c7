"""The weights that ship inside this package: what its manifest lists."""
from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

FOLDER = Path(str(resources.files("patchvsr") / "checkpoints"))


@dataclass(frozen=True, slots=True)
class Packaged:
    """A packaged file: `sha256` is that of the whole file, as the manifest gives it."""

    kind: ClassVar[str] = "packaged"
    licence: ClassVar[str] = "Apache-2.0"

    path: Path
    sha256: str
    purpose: str

    @property
    def description(self) -> str:
        """Where it lies."""
        return f"patchvsr, {self.path.name}"


def manifest() -> dict[str, dict[str, dict[str, str]]]:
    """What `manifest.json` lists, by kind (`bases`, `arms`) and name; empty where nothing was trained."""
    path = FOLDER / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def packaged() -> dict[str, Packaged]:
    """By name (`nano` for a base, `nano/ARM` for an arm), bases first; the manifest is read each time."""
    listed = manifest()
    purposes = {"bases": "trained base", "arms": "trained arm"}
    return {
        name: Packaged(FOLDER / entry["file"], entry["sha256"], purpose)
        for kind, purpose in purposes.items()
        for name, entry in sorted(listed.get(kind, {}).items())
    }
