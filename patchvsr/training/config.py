"""What a training run is a function of."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from patchvsr.errors import UserError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """One run, resolved. The learning rate falls along a cosine to zero at the last step.

    Attributes:
        stage: 1 trains the base and its text encoder on whole frames; 2 trains an arm on the frozen base.
        variant: stage 2: the named variant (with overrides) whose arm is trained.
        base: name of the base.
        steps: optimiser steps.
        still_batch, clip_batch: tiles per step of one frame and of a chunk's frames.
        clip_share: share of steps that train on clips.
        scales: scale to probability.
        degradations: names to draw from.
        noise_share: share of samples at t = 1, where every sampling starts.
        lowest_time: the other samples are uniform in t from here to 1.
    """

    stage: int
    variant: str = "full"
    base: str = "nano"
    steps: int = 1000
    still_batch: int = 8
    clip_batch: int = 2
    clip_share: float = 0.3
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.998
    clip_norm: float = 1.0
    noise_share: float = 0.25
    lowest_time: float = 0.02
    scales: dict[int, float] = field(default_factory=lambda: {2: 0.15, 3: 0.3, 4: 0.55})
    degradations: tuple[str, ...] = ("bilinear", "bicubic")
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"degradations": list(self.degradations)}


def load_config(path: Path, changes: dict[str, Any]) -> TrainingConfig:
    """A YAML file's settings with `changes` on top.

    Raises:
        UserError: the file is missing or names unknown settings.
    """
    if not path.is_file():
        raise UserError(f"no training config at {path}; see patchvsr/training/configs")
    data = (yaml.safe_load(path.read_text()) or {}) | changes
    known = TrainingConfig.__dataclass_fields__
    for key in data:
        if key not in known:
            raise UserError(f"unknown setting '{key}' in {path}{nearest(key, known)}")
    if "degradations" in data:
        data["degradations"] = tuple(data["degradations"])
    return TrainingConfig(**data)
