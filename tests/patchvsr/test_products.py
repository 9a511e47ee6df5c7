"""Attention by products: the same numbers as torch's fused attention, and only where it is meant."""
from __future__ import annotations

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch.nn import functional as F

from patchvsr import products
from patchvsr.attention import TileAttnProcessor
from patchvsr.products import attend_by_products, suits_products


@pytest.mark.parametrize(("batch", "rows", "keys"), [(1, 40, 40), (2, 40, 7), (3, 1, 5)])
def test_products_agree_with_the_fused_attention(batch: int, rows: int, keys: int) -> None:
    torch.manual_seed(0)
    query = torch.randn(batch, rows, 2, 16).bfloat16()
    key, value = (torch.randn(batch, keys, 2, 16).bfloat16() for _ in range(2))
    heads_first = (x.float().transpose(1, 2) for x in (query, key, value))
    expected = F.scaled_dot_product_attention(*heads_first).transpose(1, 2)
    for mode in (torch.inference_mode(), torch.no_grad()):  # the memory for scores serves both
        with mode:
            found = attend_by_products(query, key, value)
        assert found.shape == query.shape and found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0)


def test_the_tile_processor_gives_what_diffusers_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = WanAttention(dim=32, heads=2, dim_head=16).bfloat16()
    states, angles = torch.randn(1, 20, 32).bfloat16(), torch.rand(1, 20, 1, 16)
    rotary = angles.cos(), angles.sin()
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: True)
    with torch.no_grad():
        expected = WanAttnProcessor()(attention, states, rotary_emb=rotary)
        found = TileAttnProcessor()(attention, states, rotary_emb=rotary)
    torch.testing.assert_close(found.float(), expected.float(), atol=0.02, rtol=0)


def test_products_are_for_inference_in_bfloat16_on_a_cpu_and_for_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: True)
    states = torch.zeros(1, 1280, 2, 48, dtype=torch.bfloat16)
    with torch.no_grad():
        assert suits_products(states, 1280, 2)
        assert not suits_products(states.float(), 1280, 2)
        assert not suits_products(states.to("meta"), 1280, 2)
        assert not suits_products(states, 10_000, 2)
        monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: False)
        assert not suits_products(states, 1280, 2)
    assert not suits_products(states, 1280, 2)


def test_compiled_code_keeps_the_products() -> None:
    assert "attend_by_products" in str(torch.ops.patchvsr.attend_by_products)
    meta = torch.zeros(1, 6, 2, 8, device="meta", dtype=torch.bfloat16)
    assert attend_by_products(meta, meta, meta).shape == meta.shape
