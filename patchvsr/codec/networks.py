"""What the codecs with a network share: its copy on the meta device, its files, and the limits of tiles."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from patchvsr.errors import UserError
from patchvsr.offload import compute_device
from patchvsr.weights import sha256_file


def meta_copy(module: Any) -> Any:
    """The same diffusers model without weights, on the meta device, float32, ready for inference."""
    if compute_device(module).type == "meta":
        return module
    with torch.device("meta"):
        return type(module).from_config(module.config).eval()


def diffusers_folder(folder: Path, what: str) -> Path:
    """`folder/vae` or `folder` itself, whichever holds a diffusers model.

    Raises:
        UserError: neither does.
    """
    path = folder / "vae" if (folder / "vae").is_dir() else folder
    if not (path / "config.json").is_file():
        raise UserError(f"{folder} holds no diffusers {what}: expected {path / 'config.json'}")
    return path


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of a folder's safetensors files, by name."""
    return {f"codec/{file.name}": sha256_file(file) for file in sorted(folder.glob("*.safetensors"))}


def check_tiles(tile: int, overlap: int, spatial: int) -> None:
    """Refuse tiles that do not lie on whole latent pixels or share too much.

    Raises:
        UserError: one sentence that says which.
    """
    for name, value in (("tile", tile), ("overlap", overlap)):
        if value % spatial:
            raise UserError(f"the codec's {name} of {value} pixels must be a multiple of {spatial}")
    if not 0 <= overlap < tile:
        raise UserError(f"the codec's overlap of {overlap} pixels must be at least 0 and below its tile of {tile}")
