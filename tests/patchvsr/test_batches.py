"""Batches of tiles: read and added at once through an index, or one by one, with the same result."""
from __future__ import annotations

import pytest
import torch

from patchvsr.batches import batches
from patchvsr.devices import fitting_batch
from patchvsr.modulation import Fusion, modulations, plan
from patchvsr.tiling import tilings

CPU = torch.device("cpu")
FRAME = (20, 26)


@pytest.mark.parametrize("name", ["auxiliary/joint", "shifted/independent", "overlapped/gaussian", "full/independent"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_index_reads_and_adds_what_slices_do(name: str, size: int) -> None:
    tiling, modulation = name.split("/")
    tiles = plan(tilings.get(tiling)(), modulations.get(modulation)(), *FRAME, (8, 8), 1, 2)
    latents = torch.randn(4, 3, *FRAME, generator=torch.Generator().manual_seed(0))
    results = []
    for indexed in (False, True):
        fusion, seen = Fusion(latents.shape), []
        for batch in batches(tiles, FRAME, size, CPU, indexed):
            assert (batch.index is not None) == indexed
            crops = batch.gather(latents)
            assert crops.shape == (len(batch.tiles), 4, 3, batch.key[0].height, batch.key[0].width)
            batch.add(crops, fusion)
            seen += [(place.top, place.left) for place in batch.key]
        assert seen == [(tile.box.top, tile.box.left) for tile in tiles]
        results.append(fusion.result())
    # What is cut out and added up again by a partition of unity is the frame itself.
    for result in results:
        torch.testing.assert_close(result, latents)


def test_a_batch_fills_the_device_and_not_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitting_batch(5120, 1536, 2, CPU) == 7  # 32768 rows of a product, rounded up to whole tiles
    assert fitting_batch(100_000, 1536, 2, CPU) == 1
    gpu, tile = torch.device("cuda", 0), 24 * 5120 * 1536 * 2
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * tile)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 * tile)
    for free, expected in ((4 * tile, 3), (100 * tile, 7), (0, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 200 * tile))
        assert fitting_batch(5120, 1536, 2, gpu) == expected
