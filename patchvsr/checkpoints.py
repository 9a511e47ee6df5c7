"""The weights that ship with the package: the nano base and its trained arms.

`patchvsr/checkpoints/manifest.json` lists each file with its sha256; a file is checked against it whenever it is
read. Files are safetensors with their metadata as JSON in the header.
"""
from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from patchvsr.base import Base, BaseDefinition
from patchvsr.model import load_strictly, save_weights
from patchvsr.prompt import ByteTextEncoder
from patchvsr.weights import load_safetensors, sha256_file
from patchvsr.weights.packaged import FOLDER, manifest


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One packaged file: its path and the sha256 that the manifest gives."""

    path: Path
    sha256: str

    def load(self) -> dict[str, Tensor]:
        """The tensors, after the hash was checked.

        Raises:
            UserError: the file is missing or damaged.
        """
        return load_safetensors(self.path, self.sha256)


def find(kind: str, name: str) -> Checkpoint | None:
    """The packaged checkpoint of a base (`bases`) or an arm (`arms`); None where none was trained."""
    entry = manifest().get(kind, {}).get(name)
    return None if entry is None else Checkpoint(FOLDER / entry["file"], entry["sha256"])


def adopt(kind: str, name: str, file: Path, log: Path) -> None:
    """Copy a trained file and its log into the package, and enter it into the manifest.

    Paths of the machine that it was trained on are taken out of the file's metadata: they mean nothing elsewhere.
    """
    with safe_open(file, "pt") as tensors:
        metadata = json.loads((tensors.metadata() or {}).get("patchvsr", "{}"))
    for key in ("start", "base_weights"):
        if path := metadata.get("training", {}).get(key):
            metadata["training"][key] = Path(path).name
    own = FOLDER / file.name
    save_weights(load_safetensors(file), own, metadata, torch.bfloat16)
    own.chmod(0o644)  # safetensors lets nobody else read its files
    (FOLDER / "training").mkdir(exist_ok=True)
    shutil.copyfile(log, FOLDER / "training" / f"{file.stem}.csv")
    data = manifest()
    data.setdefault(kind, {})[name] = {"file": own.name, "sha256": sha256_file(own)}
    (FOLDER / "manifest.json").write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")


def base_state(base: Base, text_encoder: ByteTextEncoder) -> dict[str, Tensor]:
    """What stage 1 trains, by name."""
    state = {f"model.{name}": value for name, value in base.model.state_dict().items()}
    return state | {f"text_encoder.{name}": value for name, value in text_encoder.state_dict().items()}


def load_nano(definition: BaseDefinition, checkpoint: Checkpoint | None) -> tuple[Base, ByteTextEncoder]:
    """The nano base with its text encoder; random weights without a checkpoint.

    Raises:
        UserError: the checkpoint is damaged or of another shape.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        base = Base.build(definition)
        text_encoder = ByteTextEncoder(base.shape.text_dim)
    if checkpoint is not None:
        both = torch.nn.ModuleDict({"model": base.model, "text_encoder": text_encoder})
        state = {name: value.float() for name, value in checkpoint.load().items()}
        load_strictly(both, state, base_state(base, text_encoder), str(checkpoint.path))
    return base, text_encoder
