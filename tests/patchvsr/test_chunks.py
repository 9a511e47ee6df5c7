from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchvsr.chunks import blend_chunks, chunk_spans


@given(st.integers(1, 60), st.integers(1, 9), st.data())
def test_blending_cuts_of_a_clip_gives_every_frame_of_it_once(frames, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    clip = torch.arange(frames, dtype=torch.float64).view(-1, 1, 1, 1)
    spans = chunk_spans(frames, size, overlap)
    assert all(stop - start == min(size, frames) for start, stop in spans)
    out = torch.cat(list(blend_chunks(spans, (clip[a:b].clone() for a, b in spans))))
    torch.testing.assert_close(out, clip)


def test_overlaps_are_cross_faded():
    out = torch.cat(list(blend_chunks([(0, 4), (2, 6)], iter([torch.zeros(4, 1, 1, 1), torch.ones(4, 1, 1, 1)]))))
    torch.testing.assert_close(out.flatten(), torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1]))


def test_a_missing_chunk_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        list(blend_chunks([(0, 2), (2, 4)], iter([torch.zeros(2, 1, 1, 1)])))
