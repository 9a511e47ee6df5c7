"""Variants: which components make one PatchVSR, under a name.

`full` is the paper's method. Every other named variant is `full` with the differences that its YAML file lists
(`patchvsr/variants/*.yaml`). Overrides follow a name: `full:modulation=average,steps=2`.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from patchvsr.errors import UserError, nearest
from patchvsr.notation import ARGUMENT, split_name

if TYPE_CHECKING:
    from patchvsr.adapter import AdapterConfig

PROMPTS = ("fixed", "caption", "empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """A fully resolved variant; 0 or an empty string in a numeric or path field means "the base's own".

    Attributes:
        base: name of the base model.
        codec: name of the codec; one that fits the base's latents, such as a smaller one.
        diffusion: False for the control that only encodes and decodes the upsampled video, on nano through a trained
            regression.
        patch: the patch condition branch is there.
        context, position, modulation, tiling: the four axes of components.
        prompt: `fixed`, `caption` (of the clip) or `empty`.
        lora: rank of LoRA on the base, 0 for none.
        patch_blocks, context_blocks: transformer blocks of the two branches.
        sampler: name of the sampler.
        steps, shift: of the sampler; shift s maps a uniform time t to s t / (1 + (s - 1) t).
        tile: tile size in output pixels.
        overlap: share of a tile that the `overlapped` tiling overlaps.
        frames, frame_overlap: frames of a chunk, and how many of them it shares with the next.
        augmentation: noise level of the condition at inference in 0..1; negative means the base's own.
        shared_noise: share of the noise's variance, 0..1, that all frames of a clip have in common; negative means the
            base's own.
        tile_batch: tiles per forward on an accelerator; 0 for as many as fill it.
        cache: `auto` keeps the step-invariant features that are worth their memory, `on` all while memory lasts, `off`
            none.
        cache_mib: memory for step-invariant features of tiles.
        attention, quantize, compile: ways to be faster, see `patchvsr.acceleration`.
        weights, base_weights, codec_weights: files or folders in place of the packaged ones.
        dropped_at_inference: use `full`'s weights and leave out the parts that this variant lacks.
    """

    name: str
    base: str
    codec: str
    diffusion: bool
    patch: bool
    context: str
    position: str
    modulation: str
    tiling: str
    prompt: str
    lora: int
    patch_blocks: int
    context_blocks: int
    sampler: str
    steps: int
    shift: float
    tile: int
    overlap: float
    frames: int
    frame_overlap: int
    augmentation: float
    shared_noise: float
    tile_batch: int
    cache: str
    cache_mib: int
    attention: str
    quantize: str
    compile: str
    weights: str
    base_weights: str
    codec_weights: str
    dropped_at_inference: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, in the order of the fields."""
        return asdict(self)

    def sha256(self) -> str:
        """Hash of every field except the name: two names for one spec have one hash."""
        data = {key: value for key, value in self.to_dict().items() if key != "name"}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def adapter_config(self) -> AdapterConfig:
        """The shape of the adapter that this variant's arm trains."""
        from patchvsr.adapter import AdapterConfig

        return AdapterConfig(
            patch=self.patch,
            context=self.context,
            position=self.position,
            patch_blocks=self.blocks[0],
            context_blocks=self.blocks[1],
            lora_rank=self.lora,
        )

    @property
    def blocks(self) -> tuple[int, int]:
        """Transformer blocks of the patch and of the context branch, the base's own where the spec leaves them open."""
        from patchvsr.base import define

        own = define(self.base).adapter_blocks
        return self.patch_blocks or own, self.context_blocks or own

    @property
    def arm(self) -> str:
        """The part of the spec that is trained, readable: variants with the same arm share weights."""
        if not self.diffusion:
            return f"{self.base}/no_diffusion"
        patch, context = self.blocks
        parts = [f"patch{patch}"] if self.patch else []
        if self.context != "none":
            parts.append(f"{self.context}{context}")
        parts += [self.position] if self.position != "none" else []
        parts += [f"lora{self.lora}"] if self.lora else []
        return f"{self.base}/{'+'.join([*parts, self.prompt])}"


@cache
def variant_names() -> list[str]:
    """Names of the variants."""
    folder = resources.files("patchvsr") / "variants"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@cache
def _file(name: str) -> dict[str, Any]:
    if name not in variant_names():
        raise UserError(f"unknown variant '{name}'{nearest(name, variant_names())}")
    return yaml.safe_load((resources.files("patchvsr") / "variants" / f"{name}.yaml").read_text())


def description(name: str) -> str:
    """One line on a named variant.

    Raises:
        UserError: unknown name.
    """
    return str(_file(name)["description"])


def resolve(text: str) -> VariantSpec:
    """The spec of a variant as typed, checked.

    Raises:
        UserError: unknown name, unknown override, a value of the wrong type, or parts that do not go together.
    """
    name, overrides = split_name(text)
    data = dict(_file("full")["spec"])
    if name != "full":
        data |= _file(name)["differs"]
    spec = VariantSpec(name=name, **data)
    known = {field.name: field for field in fields(VariantSpec) if field.name != "name"}
    for key, value in overrides.items():
        if key == ARGUMENT:
            raise UserError(f"override '{value}' of '{name}' is not key=value, as in full:steps=4,modulation=average")
        if key not in known:
            raise UserError(f"unknown override '{key}' of variant '{name}'{nearest(key, known)}")
        spec = replace(spec, **{key: _parse(key, value, getattr(spec, key))})
    check(spec)
    return spec


def filled(spec: VariantSpec) -> VariantSpec:
    """The spec with the base's own values where it leaves the choice to the base."""
    from patchvsr.base import define

    base = define(spec.base)
    return replace(
        spec,
        codec=spec.codec or base.codec,
        patch_blocks=spec.blocks[0],
        context_blocks=spec.blocks[1],
        steps=spec.steps or base.steps,
        shift=spec.shift or base.shift,
        tile=spec.tile or base.tile,
        frames=spec.frames or base.frames,
        augmentation=base.augmentation[2] if spec.augmentation < 0 else spec.augmentation,
        shared_noise=base.shared_noise if spec.shared_noise < 0 else spec.shared_noise,
    )


def _parse(key: str, value: str, like: Any) -> Any:
    kind = type(like)
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False, "on": True, "off": False}[value.lower()]
        return kind(value)
    except (KeyError, ValueError):
        word = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UserError(f"override {key}={value} must be {word}") from None


def check(spec: VariantSpec) -> None:
    """Refuse parts that do not exist or do not go together.

    Raises:
        UserError: one sentence that says which, and what to change.
    """
    from patchvsr.acceleration import COMPILE, QUANTIZE
    from patchvsr.base import define
    from patchvsr.cache import MODES
    from patchvsr.codec import fitting
    from patchvsr.context import contexts
    from patchvsr.modulation import modulations
    from patchvsr.position import positions
    from patchvsr.sampling import samplers
    from patchvsr.tiling import tilings

    base = define(spec.base)
    fitting(spec.codec, base.codec, spec.base)
    view, position = contexts.get(spec.context), positions.get(spec.position)
    tiling, modulation = tilings.get(spec.tiling), modulations.get(spec.modulation)
    samplers.get(spec.sampler)
    words = {"prompt": PROMPTS, "cache": MODES, "quantize": QUANTIZE, "compile": COMPILE}
    for key, known in words.items():
        word = getattr(spec, key)
        if word not in known:
            raise UserError(f"unknown {key} '{word}'{nearest(word, known)}")
    if view is None and position.needs_context:
        raise UserError(
            f"position={spec.position} of '{spec.name}' speaks through the context branch, but context=none; "
            "use position=crop, rope_offset or none"
        )
    if view is not None and not view.masked and position.mask_channels:
        raise UserError(f"position={spec.position} means nothing with context={spec.context}; use position=crop or box")
    if spec.tiling == "full" and view is not None:
        raise UserError("tiling=full sees the whole frame already; use it with context=none")
    steps = spec.steps or base.steps
    least = {"steps": 1, "lora": 0, "tile_batch": 0, "patch_blocks": 0, "context_blocks": 0, "cache_mib": 0}
    for key, low in least.items():
        value = steps if key == "steps" else getattr(spec, key)
        if value < low:
            raise UserError(f"{key}={value} of '{spec.name}' must be at least {low}")
    if not 0 <= spec.overlap < 1:
        raise UserError(f"overlap={spec.overlap} of '{spec.name}' must be in [0, 1)")
    if spec.shared_noise > 1:
        raise UserError(f"shared_noise={spec.shared_noise} of '{spec.name}' is a share; give 0 to 1")
    chunk = spec.frames or base.frames
    if not 0 <= spec.frame_overlap < chunk:
        raise UserError(f"frame_overlap={spec.frame_overlap} of '{spec.name}' must be below its {chunk} frames")
    tiling(overlap=spec.overlap).check(steps)
    modulation().check(spec.tiling)
