"""One forward pass of diffusers' `WanTransformer3DModel` with the adapter's features added.

`WanTransformer3DModel.forward` takes no per-block residuals and no projected keys, so the same sequence of its own
submodules is written out here. With no features it gives the same bytes as the model's own forward (tested).
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from patchvsr.attention import CrossStates, KeyValue, text_key_value

TIMESTEPS = 1000.0  # Wan's time embedding is scaled for t in 0..1000


class TextStates(NamedTuple):
    """A prompt as the base sees it: tokens `[B, L, dim]` and every block's keys and values. Independent of t."""

    tokens: Tensor
    blocks: tuple[KeyValue, ...]


class TileFeatures(NamedTuple):
    """What the adapter knows of a tile; none of it depends on the denoising step.

    Attributes:
        levels: feature maps `[B * T, C, h, w]` for the levels of a base with a convolutional stem, finest first.
        blocks: one `[B, N, dim]` per adapter block of the patch branch (empty without one).
        context: each base block's context keys and values (empty without a context branch).
        condition: `[B, dim]`, added to the base's time embedding.
        rope_start: first rotary position of the tile, rows and columns, in tokens.
    """

    levels: tuple[Tensor, ...] = ()
    blocks: tuple[Tensor, ...] = ()
    context: tuple[KeyValue, ...] = ()
    condition: Tensor | None = None
    rope_start: tuple[int, int] = (0, 0)


def encode_text(model: WanTransformer3DModel, embeddings: Tensor) -> TextStates:
    """Project prompt embeddings `[B, L, text_dim]` to the tokens and keys that all blocks use."""
    tokens = model.condition_embedder.text_embedder(embeddings)
    return TextStates(tokens, tuple(text_key_value(block.attn2, tokens) for block in model.blocks))


def embed_time(model: WanTransformer3DModel, t: Tensor, like: Tensor, condition: Tensor | None = None) -> Tensor:
    """The time embedding `[B, dim]` of t in 0..1, in the dtype of `like`, plus the adapter's conditioning."""
    embedder = model.condition_embedder
    frequencies = embedder.timesteps_proj(t * TIMESTEPS)
    embedding = embedder.time_embedder(frequencies.to(embedder.time_embedder.linear_1.weight.dtype)).type_as(like)
    return embedding if condition is None else embedding + condition.to(embedding.dtype)


def rotary(model: WanTransformer3DModel, latents: Tensor, start: tuple[int, int] = (0, 0)) -> tuple[Tensor, Tensor]:
    """Rotary cosines and sines `[1, N, 1, head_dim]` of a latent box whose first token sits at `start`."""
    if start == (0, 0):
        return model.rope(latents)
    rope = model.rope
    counts = [size // patch for size, patch in zip(latents.shape[2:], rope.patch_size, strict=True)]
    starts = (0, *start)
    tables = []
    for table in (rope.freqs_cos, rope.freqs_sin):
        parts = []
        for axis, part in enumerate(table.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)):
            shape = [1, 1, 1, part.shape[1]]
            shape[axis] = counts[axis]
            rows = part[starts[axis] : starts[axis] + counts[axis]]
            parts.append(rows.view(shape).expand(*counts, -1))
        tables.append(torch.cat(parts, dim=-1).reshape(1, counts[0] * counts[1] * counts[2], 1, -1))
    return tables[0], tables[1]


def forward(
    model: WanTransformer3DModel,
    latents: Tensor,
    embedding: Tensor,
    text: TextStates,
    features: TileFeatures,
    injections: tuple[Tensor, ...] = (),
    gates: tuple[Tensor, ...] = (),
) -> Tensor:
    """The transformer's output for a batch of tiles.

    Args:
        latents: `[B, C, T, h, w]`, h and w multiples of the patch size.
        embedding: from `embed_time`, `[B, dim]`.
        text: from `encode_text`; a batch of 1 serves every tile.
        features: context keys and rotary start of the tiles.
        injections: `[B, N, dim]` to add to each block's output, one per block (or none at all).
        gates: each block's context gate `[dim]`.

    Returns:
        `[B, C_out, T, h, w]`.
    """
    batch, _, frames, height, width = latents.shape
    p_t, p_h, p_w = model.config.patch_size
    rotary_emb = rotary(model, latents, features.rope_start)
    hidden = model.patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
    embedder = model.condition_embedder
    modulation = embedder.time_proj(embedder.act_fn(embedding)).unflatten(1, (6, -1))
    for index, block in enumerate(model.blocks):
        context = features.context[index] if features.context else None
        states = CrossStates(text.blocks[index], context, gates[index] if context is not None else None)
        hidden = block(hidden, states, modulation, rotary_emb)
        if injections:
            hidden = hidden + injections[index].to(hidden.dtype)
    shift, scale = (model.scale_shift_table + embedding.unsqueeze(1)).chunk(2, dim=1)
    hidden = model.proj_out((model.norm_out(hidden.float()) * (1 + scale) + shift).type_as(hidden))
    hidden = hidden.reshape(batch, frames // p_t, height // p_h, width // p_w, p_t, p_h, p_w, -1)
    return hidden.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
