"""Rectified-flow sampling over tiles: at every step all tiles are denoised and their velocities fused.

Source: PatchVSR (arXiv 2509.26025), multi-patch joint modulation. z_t = (1 - t) z_0 + t eps, v = eps - z_0.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from patchvsr.adapter import TileInput
from patchvsr.codec import Codec
from patchvsr.context import ContextView
from patchvsr.model import PatchVSRModel
from patchvsr.modulation import Fusion, Modulation, WeightedTile, plan
from patchvsr.noise import NoiseField
from patchvsr.position import Place
from patchvsr.registry import Registry
from patchvsr.tiling import TilingPolicy
from patchvsr.upscaler import Progress
from patchvsr.wan import TextStates, TileFeatures

StepCallback = Callable[[int, float, Tensor], Tensor]
"""Told a finished step's index, its time (1 is noise) and the latents `[C, t, h, w]`; returns those to go on with."""


class Sampler(ABC):
    """Goes from noise (t = 1) to latents (t = 0)."""

    def times(self, steps: int, shift: float) -> list[float]:
        """`steps + 1` times from 1 to 0: uniform ones u mapped to shift u / (1 + (shift - 1) u)."""
        uniform = [1 - index / steps for index in range(steps + 1)]
        return [shift * u / (1 + (shift - 1) * u) for u in uniform]

    @abstractmethod
    def step(self, latents: Tensor, velocity: Tensor, now: float, then: float) -> Tensor:
        """Latents at time `then` from those at `now`; may work in place."""


samplers: Registry[type[Sampler]] = Registry("sampler")


@samplers.register("euler")
class EulerSampler(Sampler):
    """First-order steps along the velocity."""

    def step(self, latents: Tensor, velocity: Tensor, now: float, then: float) -> Tensor:
        """z + (t' - t) v."""
        return latents.add_(velocity, alpha=then - now)


class FeatureCache:
    """Step-invariant features of tile batches under a memory budget; what does not fit is computed again.

    Entries are never evicted: steps visit the tiles in the same order, so evicting would only lose hits.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget, self.used = budget_bytes, 0
        self._entries: dict[tuple[Place, ...], TileFeatures] = {}

    def get(self, key: tuple[Place, ...]) -> TileFeatures | None:
        """The features of these tiles, if they were kept."""
        return self._entries.get(key)

    def put(self, key: tuple[Place, ...], features: TileFeatures) -> None:
        """Keep the features if they fit into what is left of the budget."""
        size = sum(tensor.nbytes for tensor in _tensors(features))
        if self.used + size <= self.budget:
            self.used += size
            self._entries[key] = features


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _tensors(item)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How a chunk is sampled.

    Attributes:
        tile: tile size in latent pixels.
        level: noise-augmentation level of the condition, 0..1.
        tile_batch: tiles per forward on an accelerator; on a CPU tiles go one by one, because small layers give
            other bits in other batches, and two cores are busy with one tile anyway.
        cache_mib: budget of the feature cache.
    """

    tiling: TilingPolicy
    modulation: Modulation
    sampler: Sampler
    steps: int
    shift: float
    tile: int
    level: float
    tile_batch: int
    cache_mib: int


class ChunkSampler:
    """Samples the latents of one chunk at a time.

    Args:
        model: base with adapter, on its device and in its dtype.
        codec: of the base.
        view: what the context branch sees, or None.
        settings: how to sample.
        device: where the model computes; its weights may wait elsewhere.
    """

    def __init__(
        self,
        model: PatchVSRModel,
        codec: Codec,
        view: ContextView | None,
        settings: SamplingSettings,
        device: torch.device,
    ) -> None:
        self.model, self.codec, self.view, self.settings = model, codec, view, settings
        self.device, self.dtype = device, model.base.dit.patch_embedding.weight.dtype
        self.batched = self.device.type != "cpu" and not model.adapter.position.moves_rope

    @torch.inference_mode()
    def sample(
        self,
        up: Tensor,
        scale: float,
        noise: NoiseField,
        first: int,
        text: TextStates,
        progress: Progress,
        on_step: StepCallback | None = None,
    ) -> Tensor:
        """Latents of a chunk.

        Args:
            up: upsampled frames `[T, 3, H, W]`, H and W multiples of the codec's stride times the patch size.
            scale: the upscaling factor, a conditioning encoding.
            noise: the clip's noise.
            first: index of the chunk's first frame in the clip.
            text: the prompt.
            progress: told the finished share of this chunk.
            on_step: called after each step; may change the latents.

        Returns:
            `[C, t, h, w]`, float32, on the CPU.
        """
        settings, codec = self.settings, self.codec
        height, width = (size // codec.spatial for size in up.shape[-2:])
        shape, frames = (codec.channels, height, width), codec.latent_frames(len(up))
        latents = noise.chunk("latents", first, frames, codec.temporal, shape, torch.float32)
        augmentation = noise.chunk("condition", first, frames, codec.temporal, shape, torch.bfloat16)
        chunk = _Chunk(self, up, augmentation, scale, text)
        times = settings.sampler.times(settings.steps, settings.shift)
        for step in range(settings.steps):
            size = (settings.tile, settings.tile)
            tiles = plan(settings.tiling, settings.modulation, height, width, size, step, settings.steps)
            fusion = Fusion((codec.channels, frames, height, width))
            batches = self._batches(tiles)
            for index, batch in enumerate(batches):
                crops = torch.stack([latents[..., *tile.box.slices] for tile in batch]).to(self.device)
                t = torch.full((len(batch),), times[step], device=self.device)
                velocity = self.model.velocity(crops, t, text, chunk.features(batch))
                for prediction, tile in zip(velocity.float().cpu(), batch, strict=True):
                    fusion.add(prediction, tile)
                progress((step + (index + 1) / len(batches)) / settings.steps)
            latents = settings.sampler.step(latents, fusion.result(), times[step], times[step + 1])
            if on_step is not None:
                latents = on_step(step, times[step], latents)
        return latents

    def _batches(self, tiles: tuple[WeightedTile, ...]) -> list[tuple[WeightedTile, ...]]:
        size = self.settings.tile_batch if self.batched else 1
        return [tiles[start : start + size] for start in range(0, len(tiles), size)]


class _Chunk:
    """The condition of one chunk: what the branches see of each tile, and the features that came of it."""

    def __init__(
        self, sampler: ChunkSampler, up: Tensor, augmentation: Tensor, scale: float, text: TextStates
    ) -> None:
        self.sampler, self.up, self.augmentation, self.scale, self.text = sampler, up, augmentation, scale, text
        self.cache = FeatureCache(sampler.settings.cache_mib << 20)
        self._view: Tensor | None = None
        self._tokens: Tensor | None = None

    def features(self, batch: tuple[WeightedTile, ...]) -> TileFeatures:
        """Features of a batch of tiles, from the cache where they are kept."""
        spatial = self.sampler.codec.spatial
        frame = tuple(size // spatial for size in self.up.shape[-2:])
        key = tuple(Place(t.box.top, t.box.left, t.box.height, t.box.width, *frame) for t in batch)
        features = self.cache.get(key)
        if features is None:
            features = self._encode(key)
            self.cache.put(key, features)
        return features

    def _encode(self, places: tuple[Place, ...]) -> TileFeatures:
        device, dtype = self.sampler.device, self.sampler.dtype
        level, count = self.sampler.settings.level, len(places)
        latents = torch.stack([self._condition(place, level) for place in places]).to(device, dtype)
        context = self._context(places)
        scale = torch.full((count,), self.scale, device=device)
        tile = TileInput(latents, context, places, scale, torch.full((count,), level, device=device))
        adapter = self.sampler.model.adapter
        if adapter.position.shares_context and self.sampler.view is not None and self.sampler.view.whole:
            if self._tokens is None:
                self._tokens = adapter.encode_context(tile, self.text)
            return adapter.encode(tile, self.text, self._tokens)
        return adapter.encode(tile, self.text)

    def _condition(self, place: Place, level: float) -> Tensor:
        latents = self.sampler.codec.encode(self.up[..., *_pixels(place, self.sampler.codec.spatial)])
        box = (slice(place.top, place.top + place.height), slice(place.left, place.left + place.width))
        return (1 - level) * latents.cpu() + level * self.augmentation[..., *box].float()

    def _context(self, places: tuple[Place, ...]) -> Tensor | None:
        view, codec = self.sampler.view, self.sampler.codec
        if view is None:
            return None
        if view.whole:
            if self._view is None:
                self._view = codec.encode(view.frames(self.up, _box(places[0], codec.spatial)))[None]
                self._view = self._view.to(self.sampler.device, self.sampler.dtype)
            return self._view
        seen = [codec.encode(view.frames(self.up, _box(place, codec.spatial))) for place in places]
        return torch.stack(seen).to(self.sampler.device, self.sampler.dtype)


def _box(place: Place, spatial: int) -> tuple[int, int, int, int]:
    return place.top * spatial, place.left * spatial, place.height * spatial, place.width * spatial


def _pixels(place: Place, spatial: int) -> tuple[slice, slice]:
    top, left, height, width = _box(place, spatial)
    return slice(top, top + height), slice(left, left + width)
