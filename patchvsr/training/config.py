"""What a training run is a function of."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from patchvsr.errors import UserError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """One run, resolved. The learning rate falls along a cosine to `final_rate` of its peak at the last step.

    Attributes:
        stage: 1 trains the base and its text encoder on whole frames; 2 trains an arm on the frozen base.
        variant: stage 2: the named variant (with overrides) whose arm is trained.
        base: name of the base.
        base_weights: stage 2: safetensors file of the base; empty for the packaged one.
        start: stage 2: safetensors file of an arm whose weights are the start where both arms have a part.
        steps: optimiser steps.
        tile: side of the tiles in pixels; 0 for the base's own.
        frame: side of the frames that tiles are cut from, a multiple of every scale; 0 for the largest that fit.
        still_batch, clip_batch: tiles per process and micro-batch, of one frame and of a chunk's frames.
        accumulation: micro-batches whose gradients make one step.
        precision: `bf16` (autocast) or `no` (float32).
        keep_every: steps between weights that are kept as files beside the last ones; 0 keeps none.
        validate_every: steps between validations, which also draw samples.
        clip_share: share of steps that train on clips.
        scales: scale to probability.
        degradations: names to draw from.
        noise_share: share of samples at t = 1, where every sampling starts.
        lowest_time: the other samples are uniform in t from here to 1.
        shared_noise: share of clips whose frames all have the same noise; the others' frames each have their own.
        zoom: share of stills that are made smaller (by up to 2) before they are cut, which makes them sharper.
    """

    stage: int
    variant: str = "full"
    base: str = "nano"
    base_weights: str = ""
    start: str = ""
    steps: int = 1000
    tile: int = 0
    frame: int = 0
    still_batch: int = 8
    clip_batch: int = 2
    clip_share: float = 0.3
    accumulation: int = 1
    precision: str = "bf16"
    keep_every: int = 0
    validate_every: int = 500
    learning_rate: float = 1e-3
    final_rate: float = 0.0
    warmup: int = 100
    weight_decay: float = 0.01
    ema: float = 0.998
    clip_norm: float = 1.0
    noise_share: float = 0.25
    lowest_time: float = 0.02
    shared_noise: float = 0.5
    zoom: float = 0.3
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
    config = TrainingConfig(**data)
    _check(config, path)
    return config


def _check(config: TrainingConfig, path: Path) -> None:
    default = TrainingConfig(stage=1)
    for name in TrainingConfig.__dataclass_fields__:
        value, like = getattr(config, name), getattr(default, name)
        kinds = (int, float) if isinstance(like, float) else type(like)
        if not isinstance(value, kinds):
            raise UserError(f"{name} in {path} is {value!r}; it must be like {like!r}")
    for name in ("steps", "still_batch", "clip_batch", "accumulation", "validate_every"):
        if getattr(config, name) < 1:
            raise UserError(f"{name}={getattr(config, name)} in {path} must be at least 1")
    if config.stage not in (1, 2):
        raise UserError(f"stage={config.stage} in {path}; 1 trains the base, 2 an arm")
    if config.precision not in ("bf16", "no"):
        raise UserError(f"precision={config.precision} in {path}; give bf16, or no for float32")
    if not config.degradations:
        raise UserError(f"degradations in {path} is empty; name at least one, such as bicubic")
    if not config.scales or min(config.scales) < 1 or abs(sum(config.scales.values()) - 1) > 1e-6:
        raise UserError(f"scales={config.scales} in {path}: whole numbers of at least 1 whose shares add up to 1")
