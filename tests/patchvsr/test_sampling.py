from __future__ import annotations

import pytest
import torch

from patchvsr.codec import PixelCodec, codecs
from patchvsr.noise import NoiseField
from patchvsr.position import BoxPosition, MaskPosition, Place, RopeOffset
from patchvsr.sampling import EulerSampler


def test_euler_follows_a_straight_flow_exactly_at_any_number_of_steps():
    clean, noise = torch.randn(2, 1, 4, 4, 4)
    for steps in (1, 3, 7):
        sampler, latents = EulerSampler(), noise.clone()
        times = sampler.times(steps, 2.5)
        for now, then in zip(times, times[1:], strict=False):
            latents = sampler.step(latents, noise - clean, now, then)
        torch.testing.assert_close(latents, clean)


def test_times_fall_from_one_to_zero_and_shift_moves_them_towards_noise():
    plain, shifted = (EulerSampler().times(4, shift) for shift in (1.0, 3.0))
    assert plain == [1, 0.75, 0.5, 0.25, 0]
    assert shifted[0] == 1 and shifted[-1] == 0
    assert all(s > p for s, p in zip(shifted[1:-1], plain[1:-1], strict=True))


def test_noise_of_a_frame_does_not_depend_on_the_chunk_it_is_drawn_in():
    field, shape = NoiseField(5, "clip"), (4, 3, 2)
    whole = field.chunk("latents", 0, 6, 1, shape, torch.float32)
    part = field.chunk("latents", 4, 2, 1, shape, torch.float32)
    assert torch.equal(whole[:, 4:], part)
    others = [NoiseField(6, "clip"), NoiseField(5, "other")]
    assert all(not torch.equal(o.frame("latents", 0, shape), whole[:, 0]) for o in others)
    assert not torch.equal(field.frame("condition", 0, shape), whole[:, 0])
    assert whole.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_frames_have_as_much_noise_in_common_as_asked_for(shared):
    field, shape = NoiseField(5, "clip", shared), (8, 40, 40)
    whole = field.chunk("latents", 0, 3, 1, shape, torch.float32)
    frames = whole.transpose(0, 1).flatten(1)
    assert torch.corrcoef(frames)[0, 2] == pytest.approx(shared, abs=0.03)
    assert frames.std(1).tolist() == pytest.approx([1, 1, 1], abs=0.03)
    assert torch.equal(whole[:, 2:], field.chunk("latents", 2, 1, 1, shape, torch.float32))
    assert not torch.equal(whole, field.chunk("condition", 0, 3, 1, shape, torch.float32))


def test_the_pixel_codec_is_lossless():
    frames = torch.rand(3, 3, 16, 8)
    codec = PixelCodec()
    latents = codec.encode(frames)
    assert latents.shape == (48, 3, 4, 2)
    torch.testing.assert_close(codec.decode(latents), frames)


def test_wan_codec_counts_frames_as_its_autoencoder_does():
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    codec = codecs.get("wan")(AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval())
    frames = torch.rand(5, 3, 16, 24)
    latents = codec.encode(frames)
    assert latents.shape == (16, codec.latent_frames(5), 2, 3) == (16, 2, 2, 3)
    assert codec.decode(latents).shape == frames.shape
    assert [codec.padded_frames(n) for n in (1, 2, 5, 6)] == [1, 5, 5, 9]


def test_the_mask_is_the_share_of_each_cell_that_the_tile_covers():
    place = Place(top=4, left=8, height=8, width=8, frame_height=16, frame_width=32)
    mask = MaskPosition(8).mask(place, 4, 4, torch.zeros(1))
    assert torch.equal(mask[0], torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0.0]]))
    half = Place(top=2, left=0, height=4, width=32, frame_height=16, frame_width=32)
    assert torch.equal(MaskPosition(8).mask(half, 4, 1, torch.zeros(1))[0, :, 0], torch.tensor([0.5, 0.5, 0, 0]))


def test_other_positions_tell_boxes_apart_and_stay_in_range():
    box = BoxPosition(8)
    a, b = (box.token(Place(top, 0, 8, 8, 64, 64), torch.zeros(1)) for top in (0, 56))
    assert a.shape == (1, 1, 8) and not torch.allclose(a, b)
    starts = [RopeOffset(8).rope_start(Place(t, t, 64, 64, 512, 512), 4) for t in (0, 224, 448)]
    assert starts == [(0, 0), (8, 8), (16, 16)]
