"""The checkpoint of a run: one file, replaced as a whole, from which a run goes on as if it had not stopped."""
from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from patchvsr.errors import UserError
from patchvsr.training.config import TrainingConfig

NAME = "checkpoint.pt"


def fingerprint(config: TrainingConfig) -> str:
    """SHA-256 of a config; a checkpoint of another one is refused."""
    return hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()


def save(state: dict[str, Any], config: TrainingConfig, folder: Path) -> None:
    """Write `state` to the folder's checkpoint; the one before stays until the new one is whole and on the disk.

    Raises:
        UserError: the disk is full, or the folder cannot be written to; the checkpoint before is kept.
    """
    path, part = folder / NAME, folder / f"{NAME}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save(state | {"fingerprint": fingerprint(config), "config": config.to_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its file writer
        part.unlink(missing_ok=True)
        kept = "the one before it is kept" if path.is_file() else "there is none yet"
        raise UserError(f"checkpoint {path} cannot be written ({error}); {kept}; make room and run again") from error


def load(config: TrainingConfig, folder: Path) -> dict[str, Any] | None:
    """The state in the folder's checkpoint, on the CPU; None where there is none.

    Raises:
        UserError: it is damaged, or of another config; the message names the settings that differ.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a damaged archive makes of torch's reader
        raise UserError(f"checkpoint {path} is damaged ({error}); remove it to start anew") from error
    if state.get("fingerprint") != fingerprint(config):
        old, new = state.get("config", {}), config.to_dict()
        differ = [f"{k} was {old.get(k)}, is {new.get(k)}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
        raise UserError(
            f"{path} belongs to another config ({'; '.join(differ) or 'of an older version'}); use another --out, or "
            "remove it"
        )
    return state
