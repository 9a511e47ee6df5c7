"""Decoupled cross-attention of one block of the nano base, for the tokens of one native tile."""
from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor
from torch.nn import functional as F

from patchvsr.attention import ContextKeyValue, CrossStates, DecoupledCrossAttnProcessor, text_key_value
from patchvsr.base import define
from patchvsr.products import attend_by_products

PIXELS_PER_TOKEN = 16  # the pixel codec's 4, the stem's 2 and the transformer's 2
TEXT_TOKENS = 16


@pytest.mark.benchmark(group="cross-attention of one block")
@pytest.mark.reference("matmul")
@pytest.mark.parametrize("context", [False, True], ids=["text", "text and context"])
@torch.inference_mode()
def test_cross_attention(benchmark: Any, context: bool) -> None:
    torch.manual_seed(0)
    nano = define("nano")
    dim, heads = nano.config["dim"], nano.config["heads"]
    attention = WanAttention(
        dim, heads, dim // heads, cross_attention_dim_head=dim // heads, processor=DecoupledCrossAttnProcessor()
    ).eval()
    tokens = nano.frames * (nano.tile // PIXELS_PER_TOKEN) ** 2
    states = CrossStates(text_key_value(attention, torch.randn(1, TEXT_TOKENS, dim)))
    if context:
        branch = ContextKeyValue(dim, heads).eval()
        states = CrossStates(states.text, branch(torch.randn(1, tokens // 4, dim)), torch.ones(dim))
    hidden: Tensor = torch.randn(1, tokens, dim)
    assert benchmark(attention, hidden, states).shape == hidden.shape


def _fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


# How the two compare depends on the processor's bfloat16, so this is no matter for a baseline.
@pytest.mark.slow
@pytest.mark.benchmark(group="self-attention of one tile in bfloat16")
@pytest.mark.reference("matmul")
@pytest.mark.parametrize("way", [_fused, attend_by_products], ids=["torch's fused", "products"])
@torch.inference_mode()
def test_self_attention(benchmark: Any, way: Any) -> None:
    nano = define("nano")
    dim, heads = nano.config["dim"], nano.config["heads"]
    tokens = nano.frames * (nano.tile // PIXELS_PER_TOKEN) ** 2
    query, key, value = (torch.randn(1, tokens, heads, dim // heads).bfloat16() for _ in range(3))
    assert benchmark(way, query, key, value).shape == query.shape
