"""FLOPs of a whole variant, counted by torch on the meta device: every tile of every step, adapter and codec.

All tiles of one size cost the same, so each piece is counted once per size and multiplied by how often it runs; how
often is found by walking through the plans of all steps with the sampler's own stages and cache. 2 FLOPs per
multiply-add. LoRA is not in it, as inference has it merged.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from patchvsr.adapter import TileInput
from patchvsr.base import Base, cast, define
from patchvsr.batches import batches
from patchvsr.cache import MADE_FROM, FeatureCache, Key
from patchvsr.codec import Codec, codecs
from patchvsr.codec.flops import count_calls
from patchvsr.context import contexts
from patchvsr.degradation import resize_bicubic
from patchvsr.errors import UserError
from patchvsr.features import Stages
from patchvsr.model import PatchVSRModel
from patchvsr.modulation import modulations, plan
from patchvsr.tiling import tilings
from patchvsr.variants import VariantSpec, filled
from patchvsr.wan import TextStates, TileFeatures

META = torch.device("meta")
PARTS: Mapping[str, str] = {
    "dit": "dit",
    "text": "dit",
    "injection": "adapter",
    "context_attention": "adapter",
    "conditioning": "adapter",
    "patch_branch": "adapter",
    "context_branch": "adapter",
    "context_keys": "adapter",
    "codec_encode": "codec",
    "codec_decode": "codec",
    "resampling": "other",
}
"""Parts of a count, and the group that each belongs to."""


@dataclass(slots=True)
class Cost:
    """FLOPs of one chunk.

    Attributes:
        flops: by part.
        tiles: how many tiles each part has worked on, all steps together.
        uncounted: operators that calculate and are not in `flops` (norms, activations, softmax, interpolation).
        peak_cache: bytes of features that are kept at most.
    """

    flops: Counter[str] = field(default_factory=Counter)
    tiles: Counter[str] = field(default_factory=Counter)
    uncounted: set[str] = field(default_factory=set)
    peak_cache: int = 0

    def group(self, name: str) -> int:
        """FLOPs of `dit`, `adapter`, `codec` or `other`."""
        return sum(flops for part, flops in self.flops.items() if PARTS[part] == name)

    @property
    def total(self) -> int:
        """All of it."""
        return self.flops.total()


def count_variant(spec: VariantSpec, width: int, height: int, frames: int, scale: float = 4.0) -> Cost:
    """FLOPs to upscale `frames` frames, sampled as one chunk, to `width` x `height` pixels.

    Args:
        spec: resolved; its `frames` is not read.
        width, height: of the output.
        frames: of the chunk; padded to what the codec takes.
        scale: the upscaling factor, which decides the size of the input and so what its resampling costs.

    Raises:
        UserError: a variant without diffusion, or a size that no tile fits.
    """
    if not spec.diffusion:
        raise UserError(f"'{spec.name}' has no diffusion, so there is nothing to count here; leave it out")
    if min(width, height, frames) < 1:
        raise UserError(f"a frame of {width}x{height} and {frames} frames: all must be at least 1")
    spec = filled(spec)
    codec = codecs.get(spec.codec).on_meta()
    unit = _meta_base(spec.base).shape.patch * codec.spatial
    counter = _Counter(spec, codec, (-(-height // unit) * unit, -(-width // unit) * unit), codec.padded_frames(frames))
    low = torch.empty(frames, 3, round(height / scale), round(width / scale), device=META)
    counter.count("resampling", "input", 0, lambda: resize_bicubic(low, height, width))
    return counter.run()


class _Counter:
    """The walk through one chunk of a variant."""

    def __init__(self, spec: VariantSpec, codec: Codec, size: tuple[int, int], frames: int) -> None:
        self.spec, self.codec, self.size, self.frames = spec, codec, size, frames
        self.model = _model(spec)
        self.cost = Cost()
        self._known: dict[Any, tuple[Any, int]] = {}

    def run(self) -> Cost:
        """The count."""
        spec, spatial = self.spec, self.codec.spatial
        height, width = (side // spatial for side in self.size)
        prompt = torch.empty(1, define(spec.base).prompt_tokens, self.model.base.shape.text_dim, device=META)
        text = self.count("text", "text", 1, lambda: self.model.base.encode_text(prompt))
        plans = self._plans(height, width)
        uses = Counter(batch for step in plans for batch in step)
        feature_cache = _CountedCache(spec.cache, spec.cache_mib << 20, uses, META)
        stages = _CountedStages(self, feature_cache, text)
        for step in plans:
            for key in step:
                self._denoise(key, stages.features(key), text)
                feature_cache.done(key)
                self.cost.peak_cache = max(self.cost.peak_cache, feature_cache.total)
        whole = self.codec.flops(self.frames, *self.size)
        self.add("codec_decode", whole.decode, 1, whole.uncounted)
        if define(spec.base).residual_std is not None:
            self.add("codec_encode", whole.encode, 1, whole.uncounted)
        return self.cost

    def _plans(self, height: int, width: int) -> list[list[Key]]:
        spec, tile = self.spec, self.spec.tile // self.codec.spatial
        policy, modulation = tilings.get(spec.tiling)(overlap=spec.overlap), modulations.get(spec.modulation)()
        steps = (
            plan(policy, modulation, height, width, (tile, tile), step, spec.steps) for step in range(spec.steps)
        )
        return [[batch.key for batch in batches(tiles, (height, width), 1, META, False)] for tiles in steps]

    def _denoise(self, key: Key, features: TileFeatures, text: TextStates) -> None:
        height, width = key[0].height, key[0].width
        latents = torch.empty(1, self.codec.channels, self.codec.latent_frames(self.frames), height, width, device=META)
        t = torch.empty(1, device=META)
        size = (height, width)
        levels, injections = self.count("injection", ("injection", size), 1, lambda: self.model.inject(t, features))
        bare = features._replace(context=())

        def velocity(given: TileFeatures) -> Tensor:
            gates = self.model.adapter.gates if given.context else ()
            return self.model.base.velocity(latents, t, text, given, levels, injections, gates)

        before = self.cost.flops["dit"]
        self.count("dit", ("dit", size), 1, lambda: velocity(bare))
        if features.context:
            alone = self.cost.flops["dit"] - before
            _, both = self._once(("dit with context", size), lambda: velocity(features))
            self.add("context_attention", both - alone, 1)

    def count(self, part: str, name: Any, tiles: int, run: Callable[[], Any]) -> Any:
        """The result of `run`, whose FLOPs count for a part; a name is run once."""
        value, flops = self._once(name, run)
        self.add(part, flops, tiles)
        return value

    def _once(self, name: Any, run: Callable[[], Any]) -> tuple[Any, int]:
        if name not in self._known:
            value, flops, uncounted = count_calls(run)
            self._known[name] = value, flops
            self.cost.uncounted |= uncounted
        return self._known[name]

    def add(self, part: str, flops: int, tiles: int, uncounted: tuple[str, ...] = ()) -> None:
        """Count FLOPs for a part."""
        self.cost.flops[part] += flops
        self.cost.tiles[part] += tiles
        self.cost.uncounted.update(uncounted)


class _CountedCache(FeatureCache):
    """Ranks stages by FLOPs in the place of seconds."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.flops: Counter[str] = Counter()

    def cost(self, stage: str, seconds: float) -> float:
        """FLOPs of the stage and of what it is made from."""
        return float(self.flops[stage] + self.flops[MADE_FROM.get(stage, "")])


class _CountedStages(Stages):
    """The sampler's stages on the meta device."""

    def __init__(self, counter: _Counter, feature_cache: _CountedCache, text: TextStates) -> None:
        self.counter, self.text, self.known = counter, text, feature_cache
        self.adapter, self.codec = counter.model.adapter, counter.codec
        view = contexts.get(counter.spec.context)
        self.sees = view() if view else None
        super().__init__(
            feature_cache,
            patch=self.adapter.patch_branch is not None and "patch" not in self.adapter.dropped,
            context=self.sees is not None and "context" not in self.adapter.dropped,
            whole=self.sees is not None and self.sees.whole,
            shared=self.adapter.position.shares_context,
        )

    def make_condition(self, key: Key) -> Tensor:
        """The codec on a tile."""
        return self._encoded("condition", key[0].height, key[0].width)

    def make_view(self, key: Key) -> Tensor:
        """The codec on the context's frames, which are resized to a tile's size."""
        assert self.sees is not None
        spatial, sees, box = self.codec.spatial, self.sees, key[0]
        up = torch.empty(self.counter.frames, 3, *self.counter.size, device=META)
        pixels = (box.top * spatial, box.left * spatial, box.height * spatial, box.width * spatial)
        self.counter.count("resampling", ("view", pixels[2:]), 1, lambda: sees.frames(up, pixels))
        return self._encoded("view", key[0].height, key[0].width)

    def _encoded(self, stage: str, height: int, width: int) -> Tensor:
        counter, spatial = self.counter, self.codec.spatial
        cost = self.codec.flops(counter.frames, height * spatial, width * spatial)
        counter.add("codec_encode", cost.encode, 1, cost.uncounted)
        self.known.flops[stage] = cost.encode
        frames = self.codec.latent_frames(counter.frames)
        return torch.empty(1, self.codec.channels, frames, height, width, device=META, dtype=torch.bfloat16)

    def make_patch(self, key: Key, condition: Tensor) -> Any:
        """The patch branch."""
        tile = self._tile(key, condition)
        return self._made("patch", "patch_branch", key, lambda: self.adapter.encode_patch(tile, self.text))

    def make_tokens(self, key: Key, view: Tensor) -> Any:
        """The context encoder."""
        tile = self._tile(key, context=view)
        return self._made("tokens", "context_branch", key, lambda: self.adapter.encode_context(tile, self.text))

    def make_keys(self, tokens: Any) -> Any:
        """Keys and values of the context."""
        return self._made("keys", "context_keys", None, lambda: self.adapter.context_keys(tokens))

    def _made(self, stage: str, part: str, key: Key | None, run: Callable[[], Any]) -> Any:
        size = (key[0].height, key[0].width) if key else None
        before = self.counter.cost.flops[part]
        value = self.counter.count(part, (stage, size), 1, run)
        self.known.flops[stage] = self.counter.cost.flops[part] - before
        return value

    def join(self, key: Key, maps: Any, keys: Any) -> TileFeatures:
        """Conditioning encodings, and the position's own token."""
        tile = self._tile(key)

        def run() -> TileFeatures:
            own = self.adapter.own_keys(tile, keys[0].key) if keys else ()
            return self.adapter.features(tile, maps or ((), ()), keys, own)

        return self.counter.count("conditioning", ("join", (key[0].height, key[0].width)), 1, run)

    def _tile(self, key: Key, latents: Tensor | None = None, context: Tensor | None = None) -> TileInput:
        return TileInput(latents, context, key, *(torch.empty(1, device=META) for _ in range(2)))


@cache
def _meta_base(name: str) -> Base:
    with META:
        base = Base.build(define(name))
    base.to("meta")  # rotary tables are made on the CPU all the same
    cast(base, torch.bfloat16)
    return base


def _model(spec: VariantSpec) -> PatchVSRModel:
    base = _meta_base(spec.base)
    with META:
        # Without LoRA, which is merged at inference: the base is shared by all variants and stays as it is.
        config = spec.adapter_config()
        model = PatchVSRModel.fresh(base, type(config)(**(config.to_dict() | {"lora_rank": 0})))
    model.adapter.to("meta")
    cast(model.adapter, torch.bfloat16)
    return model.eval().requires_grad_(False)
