"""Rectified-flow sampling over tiles: at every step all tiles are denoised and their velocities fused.

Source: PatchVSR (arXiv 2509.26025), multi-patch joint modulation. z_t = (1 - t) z_0 + t eps, v = eps - z_0.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from patchvsr.batches import TileBatch, batches
from patchvsr.cache import FeatureCache, Key
from patchvsr.clock import Clock
from patchvsr.codec import Codec
from patchvsr.context import ContextView
from patchvsr.devices import fitting_batch
from patchvsr.features import TileStages
from patchvsr.model import PatchVSRModel
from patchvsr.modulation import Fusion, Modulation, plan
from patchvsr.noise import NoiseField
from patchvsr.parallel import SINGLE, Group
from patchvsr.registry import Registry
from patchvsr.tiling import Axis, Box, TilingPolicy
from patchvsr.upscaler import Progress
from patchvsr.wan import TextStates

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How a chunk is sampled.

    Attributes:
        tile: tile size in latent pixels.
        level: noise-augmentation level of the condition, 0..1.
        tile_batch: tiles per forward on an accelerator, 0 for as many as fill it; on a CPU tiles go one by one, because
            small layers give other bits in other batches, and two cores are busy with one tile anyway.
        cache: `auto`, `on` or `off`, see `FeatureCache`.
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
    cache: str
    cache_mib: int


class ChunkSampler:
    """Samples the latents of one chunk at a time.

    Args:
        model: base with adapter, on its device and in its dtype.
        codec: of the base.
        view: what the context branch sees, or None.
        settings: how to sample.
        device: where the model computes and latents are; the model's weights may wait elsewhere.

    Attributes:
        clock: counts the seconds of the parts, if it is given a device.
        group: the processes that share the tiles.
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
        self.clock = Clock()
        self.group: Group = SINGLE

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
            `[C, t, h, w]`, float32, on the sampler's device.
        """
        settings, codec = self.settings, self.codec
        height, width = (size // codec.spatial for size in up.shape[-2:])
        shape, frames = (codec.channels, height, width), codec.latent_frames(len(up))
        latents = noise.chunk("latents", first, frames, codec.temporal, shape, torch.float32).to(self.device)
        augmentation = noise.chunk("condition", first, frames, codec.temporal, shape, torch.bfloat16)
        plans = self._plans(height, width, frames)
        stages = TileStages(
            FeatureCache(settings.cache, settings.cache_mib << 20, self._uses(plans), self.device),
            self.model.adapter,
            codec,
            self.view,
            up=up,
            augmentation=augmentation,
            level=settings.level,
            scale=scale,
            text=text,
            device=self.device,
            dtype=self.dtype,
            clock=self.clock,
        )
        times = settings.sampler.times(settings.steps, settings.shift)
        for step, plan_of_step in enumerate(plans):
            tell = lambda share, step=step: progress((step + share) / settings.steps)  # noqa: E731
            velocity = self._velocity(latents, plan_of_step, times[step], text, stages, tell)
            with self.clock.part("modulation"):
                latents = settings.sampler.step(latents, velocity, times[step], times[step + 1])
            if on_step is not None:
                latents = on_step(step, times[step], latents)
        return latents

    def _velocity(
        self,
        latents: Tensor,
        plan_of_step: list[TileBatch],
        time: float,
        text: TextStates,
        stages: TileStages,
        tell: Progress,
    ) -> Tensor:
        """The fused velocity `[C, t, h, w]` of one step."""
        fusion = Fusion(latents.shape, self.device)

        def predict(index: int) -> Tensor:
            batch = plan_of_step[index]
            with self.clock.part("modulation"):
                crops = batch.gather(latents)
            t = torch.full((len(batch.tiles),), time, device=self.device)
            features = stages.features(batch.key)
            stages.cache.done(batch.key)
            return self.model.velocity(crops, t, text, features, self.clock)

        for index, prediction in self.group.each(len(plan_of_step), predict):
            with self.clock.part("modulation"):
                plan_of_step[index].add(prediction, fusion)
            tell((index + 1) / len(plan_of_step))
        with self.clock.part("modulation"):
            return fusion.result()

    def _plans(self, height: int, width: int, frames: int) -> list[list[TileBatch]]:
        """The batches of every step; steps with the same tiles share theirs."""
        settings, tile = self.settings, (self.settings.tile, self.settings.tile)
        known: dict[tuple[Axis, Axis], list[TileBatch]] = {}
        found = []
        for step in range(settings.steps):
            rows, columns = (
                settings.tiling.axis(length, settings.tile, step, settings.steps) for length in (height, width)
            )
            axes = rows, columns
            if axes not in known:
                tiles = plan(settings.tiling, settings.modulation, height, width, tile, step, settings.steps)
                size = self._batch_size(tiles[0].box, frames)
                known[axes] = batches(tiles, (height, width), size, self.device, self.batched)
            found.append(known[axes])
        return found

    def _batch_size(self, box: Box, frames: int) -> int:
        if not self.batched:
            return 1
        if self.settings.tile_batch:
            return self.settings.tile_batch
        tokens = frames * (box.height * box.width) // self.model.base.shape.patch ** 2
        return fitting_batch(tokens, self.model.base.shape.dim, self.dtype.itemsize, self.device)

    def _uses(self, plans: list[list[TileBatch]]) -> Counter[Key]:
        mine = (batches_of_step[self.group.rank :: self.group.size] for batches_of_step in plans)
        return Counter(batch.key for batches_of_rank in mine for batch in batches_of_rank)
