"""Attention of Wan blocks: to the tile itself, and to text and global context with one shared query.

A Wan block hands whatever it is given as `encoder_hidden_states` to `attn2` untouched. We give it `CrossStates`:
keys and values that are already projected. They do not depend on the denoising step, so they are made once per
clip (text) or once per tile (context) and reused at every step.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor, nn

from patchvsr.products import attend_by_products, suits_products


class KeyValue(NamedTuple):
    """Projected keys and values, each `[B, L, heads, head_dim]`."""

    key: Tensor
    value: Tensor


class CrossStates(NamedTuple):
    """What one block's cross-attention attends to; `gate` is `[heads * head_dim]`."""

    text: KeyValue
    context: KeyValue | None = None
    gate: Tensor | None = None


def text_key_value(attention: WanAttention, tokens: Tensor) -> KeyValue:
    """Keys and values of text tokens `[B, L, dim]` with the attention's own projections."""
    key = attention.norm_k(attention.to_k(tokens)).unflatten(2, (attention.heads, -1))
    return KeyValue(key, attention.to_v(tokens).unflatten(2, (attention.heads, -1)))


class TileAttnProcessor(WanAttnProcessor):
    """Attention processor for `attn1` of a Wan block: diffusers' own, by matrix products where that is faster."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        if self._attention_backend is not None or not suits_products(hidden_states, hidden_states.shape[1], attn.heads):
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(hidden_states))
        query, key, value = (x.unflatten(2, (attn.heads, -1)) for x in (query, key, attn.to_v(hidden_states)))
        if rotary_emb is not None:
            query, key = _rotated(query, *rotary_emb), _rotated(key, *rotary_emb)
        return attn.to_out[1](attn.to_out[0](attend_by_products(query, key, value).flatten(2, 3)))


def _rotated(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions as Wan's: successive numbers are the two parts of a complex one."""
    real, imaginary = states[..., 0::2], states[..., 1::2]
    cosine, sine = cosines[..., 0::2], sines[..., 1::2]
    out = torch.empty_like(states)
    out[..., 0::2] = real * cosine - imaginary * sine
    out[..., 1::2] = real * sine + imaginary * cosine
    return out


class DecoupledCrossAttnProcessor:
    """Attention processor for `attn2` of a Wan block.

    The query is the block's own (shared). The context's result is gated and added to the text's result before the
    output projection. PatchVSR (arXiv 2509.26025), global context branch. diffusers' own processor splits image
    tokens off as if the text always had 512 tokens and has no gate, which is why this one exists.
    """

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: CrossStates,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        states = encoder_hidden_states
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        out = self._attend(query, states.text, attention_mask)
        if states.context is not None and states.gate is not None:
            out = out + states.gate.to(out.dtype) * self._attend(query, states.context, None)
        return attn.to_out[1](attn.to_out[0](out))

    def _attend(self, query: Tensor, states: KeyValue, mask: Tensor | None) -> Tensor:
        batch = query.shape[0]
        key, value = (x.to(query.dtype).expand(batch, -1, -1, -1) for x in states)
        if mask is None and self._attention_backend is None and suits_products(query, key.shape[1], query.shape[2]):
            return attend_by_products(query, key, value).flatten(2, 3)
        out = dispatch_attention_fn(query, key, value, attn_mask=mask, backend=self._attention_backend)
        return out.flatten(2, 3).type_as(query)


def decouple(blocks: Iterable[Any]) -> None:
    """Give the attentions of Wan blocks this module's processors (in place)."""
    for block in blocks:
        block.attn1.set_processor(TileAttnProcessor())
        block.attn2.set_processor(DecoupledCrossAttnProcessor())


class ContextKeyValue(nn.Module):
    """One base block's new K and V projections of the context tokens, with its zero-initialised output gate.

    Args:
        dim: width of the context tokens and of the block.
        heads: heads of the block's attention.
        eps: of the key's RMS norm.
    """

    def __init__(self, dim: int, heads: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.heads = heads
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.norm_k = nn.RMSNorm(dim, eps=eps)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tensor) -> KeyValue:
        """Keys and values of context tokens `[B, L, dim]`."""
        key = self.norm_k(self.to_k(tokens)).unflatten(2, (self.heads, -1))
        return KeyValue(key, self.to_v(tokens).unflatten(2, (self.heads, -1)))
