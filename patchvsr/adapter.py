"""The PatchVSR adapter: what is added to a frozen video transformer so that it super-resolves tiles.

A patch branch reads the tile's upsampled frames and is added to the output of every base block; a context branch
is attended to by every base block; conditioning encodings join the time embedding. Every path into the base ends
in a zero-initialised layer, so an untrained adapter changes no byte of the base's output (tested).
Source: PatchVSR (arXiv 2509.26025), sections on the patch and global branches.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import torch
from diffusers import ConfigMixin, ModelMixin, WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr.attention import ContextKeyValue, CrossStates, KeyValue, decouple, text_key_value
from patchvsr.base import Base, BaseShape
from patchvsr.context import ContextEncoder, contexts
from patchvsr.nano import LevelStem, fold, unfold
from patchvsr.position import ConditioningEncoding, Place, positions
from patchvsr.wan import TextStates, TileFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """Everything that decides an adapter's weights' shapes (the part of a variant that is trained)."""

    patch: bool = True
    context: str = "global"
    position: str = "mask"
    patch_blocks: int = 2
    context_blocks: int = 2
    lora_rank: int = 16

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


Maps = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Feature maps of the stem's levels, and token features of blocks."""


class TileInput(NamedTuple):
    """A batch of tiles of one size as the branches see them.

    Attributes:
        latents: `[B, C, T, h, w]`, the codec's latents of the tiles' upsampled frames, noise-augmented; read by the
            patch branch alone.
        context: `[B or 1, C, T, hc, wc]`, latents of what the context branch sees, or None.
        places: each tile's box in its frame.
        scale: `[B]`, the upscaling factor.
        level: `[B]`, the noise-augmentation level in 0..1.
    """

    latents: Tensor | None
    context: Tensor | None
    places: tuple[Place, ...]
    scale: Tensor
    level: Tensor


class PatchBranch(nn.Module):
    """Reads a tile's condition latents and gives one feature per base block (and per level of a nano stem).

    The projections are zero-initialised.
    """

    def __init__(self, shape: BaseShape, blocks: int) -> None:
        super().__init__()
        self.patch = (1, shape.patch // shape.stem_stride, shape.patch // shape.stem_stride)
        self.stem = LevelStem(shape.latent_channels, shape.level_channels) if shape.level_channels else None
        channels = shape.level_channels[-1] if shape.level_channels else shape.latent_channels
        self.patch_embedding = nn.Conv3d(channels, shape.dim, kernel_size=self.patch, stride=self.patch)
        self.rope = WanRotaryPosEmbed(shape.dim // shape.heads, self.patch, 1024)
        self.blocks = nn.ModuleList(
            WanTransformerBlock(shape.dim, shape.ffn_dim, shape.heads, cross_attn_norm=True) for _ in range(blocks)
        )
        decouple(self.blocks)
        self.modulation = nn.Linear(shape.dim, 6 * shape.dim)
        self.projections = nn.ModuleList(_zero(nn.Linear(shape.dim, shape.dim)) for _ in range(shape.layers))
        levels = (*shape.level_channels, *shape.level_channels[:1])  # the stem's two, and the head
        self.level_projections = nn.ModuleList(_zero(nn.Conv2d(c, c, 1)) for c in levels)
        self.level_gates = nn.ModuleList(_zero(nn.Linear(shape.dim, c)) for c in levels)

    def forward(self, latents: Tensor, condition: Tensor, text: Tensor) -> Maps:
        """The stem's level maps and each adapter block's output; see `TileFeatures`."""
        frames = latents.shape[2]
        levels: tuple[Tensor, ...] = ()
        if self.stem is not None:
            levels = self.stem(fold(latents), frames)
            latents = unfold(levels[1], frames)
        rotary = self.rope(latents)
        hidden = self.patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
        modulation = self.modulation(F.silu(condition)).unflatten(1, (6, -1))
        outputs = []
        for block in self.blocks:
            hidden = block(hidden, CrossStates(text_key_value(block.attn2, text)), modulation, rotary)
            outputs.append(hidden)
        return levels, tuple(outputs)

    def inject(self, features: TileFeatures, embedding: Tensor) -> Maps:
        """Projected level maps, and one projected feature per base block: block j takes that of adapter block
        floor(j N_a / N_b).

        The features never see the denoising step; how much of a level's map is added does, through a gate on the
        base's time embedding `[B, dim]`.
        """
        levels = []
        for projection, gate, maps in zip(self.level_projections, self.level_gates, features.levels, strict=True):
            share = 1 + gate(F.silu(embedding)).repeat_interleave(len(maps) // len(embedding), 0)[..., None, None]
            levels.append(projection(maps) * share)
        count, layers = len(self.blocks), len(self.projections)
        blocks = tuple(p(features.blocks[j * count // layers]) for j, p in enumerate(self.projections))
        return tuple(levels), blocks


class Adapter(ModelMixin, ConfigMixin):
    """All trainable parts except LoRA, for one base. Built by the config; parts that are off do not exist.

    Args:
        shape: the fields of a `BaseShape`.
        parts: the fields of an `AdapterConfig`.
        prompt_length: tokens of the fixed prompt.
        dropped: names of parts (`patch`, `context`, `position`) that were trained but are left out at inference.

    Attributes:
        fixed_prompt: the fixed prompt's embeddings `[1, L, text_dim]`; set them with `set_prompt`.
    """

    _keep_in_fp32_modules = WanTransformer3DModel._keep_in_fp32_modules  # of its blocks, which are Wan's
    fixed_prompt: Tensor

    @register_to_config
    def __init__(
        self, shape: dict[str, Any], parts: dict[str, Any], prompt_length: int = 1, dropped: Iterable[str] = ()
    ) -> None:
        super().__init__()
        levels = tuple(shape["level_channels"])  # a list where the config comes from a file
        self._build(BaseShape(**(shape | {"level_channels": levels})), AdapterConfig(**parts))
        self.register_buffer("fixed_prompt", torch.zeros(1, prompt_length, self.shape.text_dim))
        self.dropped = frozenset(dropped)

    @classmethod
    def for_base(cls, base: Base, config: AdapterConfig) -> Adapter:
        """An untrained adapter for a base: blocks of the patch branch start as copies of evenly spaced base blocks, as
        ControlNet's do.
        """
        adapter = cls(asdict(base.shape), config.to_dict())
        if adapter.patch_branch is not None:
            blocks = adapter.patch_branch.blocks
            for index, block in enumerate(blocks):
                block.load_state_dict(base.dit.blocks[index * base.shape.layers // len(blocks)].state_dict())
        return adapter

    def _build(self, shape: BaseShape, config: AdapterConfig) -> None:
        self.shape, self.parts = shape, config
        view = contexts.get(config.context)
        self.latent_patch = shape.patch
        self.position = positions.get(config.position)(shape.dim)
        crop = self.position.uses_crop
        self.condition = ConditioningEncoding(shape.dim, crop, zero=True)
        self.patch_branch = PatchBranch(shape, config.patch_blocks) if config.patch else None
        self.patch_condition = ConditioningEncoding(shape.dim, crop, zero=False) if config.patch else None
        self.context_encoder: ContextEncoder | None = None
        self.context_condition: ConditioningEncoding | None = None
        self.context_attention = nn.ModuleList()
        if view is not None:
            channels = shape.latent_channels + self.position.mask_channels
            self.context_encoder = ContextEncoder(
                channels, shape.patch, shape.dim, shape.heads, shape.ffn_dim, config.context_blocks
            )
            # An encoding that shares one context among all tiles must keep the crop out of it.
            crop = crop and not self.position.shares_context
            self.context_condition = ConditioningEncoding(shape.dim, crop, zero=False)
            self.context_attention.extend(ContextKeyValue(shape.dim, shape.heads) for _ in range(shape.layers))

    def set_prompt(self, embeddings: Tensor) -> None:
        """Make `[1, L, text_dim]` the fixed prompt."""
        self.fixed_prompt = embeddings
        self.register_to_config(prompt_length=embeddings.shape[1])

    def drop(self, parts: Iterable[str]) -> None:
        """Leave trained parts out from now on; what is saved says so too."""
        self.dropped = frozenset(parts)
        self.register_to_config(dropped=sorted(self.dropped))

    @property
    def gates(self) -> tuple[Tensor, ...]:
        """The context gates, one per base block; empty without a context branch."""
        return tuple(cast(ContextKeyValue, layer).gate for layer in self.context_attention)

    def encode_context(self, tile: TileInput, text: TextStates) -> Tensor | None:
        """Context tokens `[B, N, dim]` without the position's own token; None without a context branch."""
        if self.context_encoder is None or self.context_condition is None or tile.context is None:
            return None
        if "context" in self.dropped:
            return None
        latents = tile.context
        if not self.position.shares_context:
            latents = latents.expand(len(tile.places), -1, -1, -1, -1)
        if self.position.mask_channels:
            height, width = latents.shape[-2:]
            masks = [self.position.mask(place, height, width, latents) for place in tile.places]
            if "position" in self.dropped:
                masks = [torch.zeros_like(m) for m in masks if m is not None]
            mask = torch.stack([m for m in masks if m is not None])[:, :, None].expand(-1, -1, latents.shape[2], -1, -1)
            latents = torch.cat([latents, mask], dim=1)
        batch = latents.shape[0]
        condition = self.context_condition(tile.scale[:batch], tile.level[:batch], self._crops(tile)[:batch])
        return self.context_encoder(latents, condition, text.tokens)

    def encode_patch(self, tile: TileInput, text: TextStates) -> Maps:
        """The patch branch's maps and block outputs (see `TileFeatures`); both empty without a patch branch."""
        if self.patch_branch is None or self.patch_condition is None or "patch" in self.dropped:
            return (), ()
        if tile.latents is None:
            raise ValueError("the patch branch needs the tiles' latents")
        condition = self.patch_condition(tile.scale, tile.level, self._crops(tile))
        return self.patch_branch(tile.latents, condition, text.tokens)

    def context_keys(self, tokens: Tensor | None) -> tuple[KeyValue, ...]:
        """Every base block's keys and values of context tokens `[B, N, dim]`; empty for None."""
        return () if tokens is None else tuple(layer(tokens) for layer in self.context_attention)

    def own_keys(self, tile: TileInput, like: Tensor) -> tuple[KeyValue, ...]:
        """Keys and values `[B, 1, heads, head_dim]` of the position's own token of each tile; empty without one."""
        tokens = [self.position.token(place, like) for place in tile.places]
        return self.context_keys(None if tokens[0] is None else torch.cat([t for t in tokens if t is not None]))

    def features(
        self, tile: TileInput, maps: Maps, keys: tuple[KeyValue, ...], own: tuple[KeyValue, ...] = ()
    ) -> TileFeatures:
        """What the base needs of a batch of tiles, put together.

        Args:
            tile: the tiles.
            maps: from `encode_patch`.
            keys: from `context_keys`; those of one context serve every tile.
            own: from `own_keys`, joined to `keys` here.
        """
        if own:
            keys = tuple(_joined(shared, mine) for shared, mine in zip(keys, own, strict=True))
        dropped = "position" in self.dropped
        starts = {(0, 0) if dropped else self.position.rope_start(p, self.latent_patch) for p in tile.places}
        if len(starts) > 1:
            raise ValueError("tiles of one batch must share their rotary start; run them one by one")
        condition = self.condition(tile.scale, tile.level, self._crops(tile))
        return TileFeatures(*maps, keys, condition, starts.pop())

    def encode(self, tile: TileInput, text: TextStates) -> TileFeatures:
        """Everything the base needs of a batch of tiles, independent of the denoising step.

        Args:
            tile: the tiles.
            text: the prompt, as `wan.encode_text` gives it.
        """
        tokens = self.encode_context(tile, text)
        own = () if tokens is None else self.own_keys(tile, tokens)
        return self.features(tile, self.encode_patch(tile, text), self.context_keys(tokens), own)

    def _crops(self, tile: TileInput) -> Tensor:
        rows = [(0.0, 0.0, 1.0, 1.0) if "position" in self.dropped else place.fractions() for place in tile.places]
        return torch.tensor(rows, dtype=torch.float32, device=tile.scale.device)


def _joined(shared: KeyValue, own: KeyValue) -> KeyValue:
    batch = len(own.key)
    pairs = zip(shared, own, strict=True)
    return KeyValue(*(torch.cat([common.expand(batch, -1, -1, -1), mine], dim=1) for common, mine in pairs))


def _zero(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
