"""What the feature cache keeps, and that keeping costs no more memory than it may."""
from __future__ import annotations

import pytest
import torch

from patchvsr.cache import FeatureCache, Key, StageCost, nbytes, shares
from patchvsr.errors import UserError
from patchvsr.position import Place

CPU = torch.device("cpu")
KEYS: list[Key] = [(Place(i, 0, 8, 8, 64, 64),) for i in range(4)]


def made(size: int) -> tuple[torch.Tensor, ...]:
    return (torch.zeros(size, dtype=torch.uint8),)


class Priced(FeatureCache):
    """A cache whose stages cost what the test says."""

    prices: dict[str, float] = {}

    def cost(self, stage: str, seconds: float) -> float:
        return self.prices[stage]


def visit(cache: FeatureCache, steps: int, sizes: dict[str, int], keys: list[Key] = KEYS) -> None:
    for _ in range(steps):
        for key in keys:
            for stage, size in sizes.items():
                cache.get(stage, key, lambda size=size: made(size))
                assert cache.total <= cache.budget
            cache.done(key)


def test_off_keeps_nothing_and_on_keeps_in_order_while_the_budget_lasts():
    off, on = (FeatureCache(mode, 800, dict.fromkeys(KEYS, 2), CPU) for mode in ("off", "on"))
    for cache in (off, on):
        visit(cache, 2, {"patch": 400})
    assert off.misses["patch"] == 8 and off.total == 0
    assert on.misses["patch"] == 4 + 2 and on.total == 800


def test_auto_keeps_only_what_comes_again_and_lets_go_after_the_last_time():
    uses = dict.fromkeys(KEYS[:2], 3) | dict.fromkeys(KEYS[2:], 1)
    cache = FeatureCache("auto", 10_000, uses, CPU)
    visit(cache, 1, {"patch": 100})
    assert cache.total == 200
    visit(cache, 2, {"patch": 100}, KEYS[:2])
    assert cache.misses["patch"] == 4 and cache.total == 0


def test_auto_gives_a_short_budget_to_the_stage_that_saves_most_per_byte():
    cache = Priced("auto", 700, dict.fromkeys(KEYS, 5), CPU)
    cache.prices = {"patch": 10.0, "keys": 1.0}
    visit(cache, 5, {"keys": 300, "patch": 100})
    # All four patch entries fit (400), and one of the four keys in what is left.
    assert cache.misses["patch"] == 4
    assert cache.misses["keys"] == 1 + 3 * 5


def test_what_a_kept_stage_was_made_from_is_not_kept():
    cache = FeatureCache("on", 10_000, dict.fromkeys(KEYS, 2), CPU)
    for key in KEYS:
        cache.get("patch", key, lambda key=key: cache.get("condition", key, lambda: made(900)) and made(100))
    assert cache.used["condition"] == 0 and cache.used["patch"] == 400


def test_shares_do_not_pay_twice_for_one_batch():
    stages = {"patch": StageCost(100, 10.0), "condition": StageCost(50, 1.0), "keys": StageCost(1000, 1.0)}
    assert shares(stages, 4, 10_000) == {"patch": 400, "condition": 0, "keys": 4000}
    assert shares(stages, 4, 260) == {"patch": 200, "condition": 50, "keys": 0}
    assert shares(stages, 4, 0) == {"patch": 0, "condition": 0, "keys": 0}


def test_a_budget_below_one_batch_is_refused_where_caching_was_asked_for():
    with pytest.raises(UserError, match="0 MiB does not hold one batch.*cache_mib"):
        FeatureCache("on", 10, {KEYS[0]: 2}, CPU).get("patch", KEYS[0], lambda: made(100))
    assert FeatureCache("auto", 10, {KEYS[0]: 2}, CPU).get("patch", KEYS[0], lambda: made(100))
    with pytest.raises(UserError, match="cache=maybe is not one of auto, on, off"):
        FeatureCache("maybe", 10, {}, CPU)


def test_bytes_are_those_of_all_nested_tensors():
    assert nbytes(((torch.zeros(3), torch.zeros(2, dtype=torch.bfloat16)), (), None)) == 16
