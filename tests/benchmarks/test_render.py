"""The rendered clip: resolution independence, exact flow, motion, determinism."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.render import Scene
from benchmarks.render.canvas import painted
from benchmarks.render.noise import fractal
from benchmarks.render.texture import Texture
from patchvsr.degradation import quantise
from patchvsr.errors import UserError

SIZE = (405, 720)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(0, density=1000.0)


def linear(frame: torch.Tensor) -> torch.Tensor:
    return torch.where(frame <= 0.04045, frame / 12.92, ((frame + 0.055) / 1.055) ** 2.4)


def psnr(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    error = (a - b).square().mean(dim=0)
    return float(-10 * torch.log10((error if mask is None else error[mask]).mean()))


def warp_back(frame: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Frame t from frame t + 1: what is at p is read at p + flow."""
    height, width = frame.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([(x + flow[0] + 0.5) * 2 / width - 1, (y + flow[1] + 0.5) * 2 / height - 1], dim=-1)
    return F.grid_sample(frame[None], grid[None], mode="bicubic", align_corners=False)[0]


def test_frames_are_in_range_and_full_of_contrast(scene: Scene) -> None:
    frame = scene.render(0, *SIZE)
    assert frame.shape == (3, *SIZE) and frame.dtype == torch.float32
    assert 0.0 <= float(frame.min()) < 0.05 and 0.95 < float(frame.max()) <= 1.0
    assert float(frame.std()) > 0.15
    assert torch.equal(scene.render_uint8(0, *SIZE), quantise(frame[None])[0])


def test_small_rendering_is_the_area_mean_of_a_large_one(scene: Scene) -> None:
    small = linear(scene.render(3, 180, 320))
    large = F.avg_pool2d(linear(scene.render(3, 720, 1280))[None], 4)[0]
    assert psnr(small, large) > 34


@pytest.mark.parametrize("frame", [0, 7, 31.5])
def test_flow_takes_the_next_frame_back_to_this_one(scene: Scene, frame: float) -> None:
    flow, occluded = scene.flow(frame, *SIZE)
    here, there = scene.render(frame, *SIZE), scene.render(frame + 1, *SIZE)
    seen = ~occluded
    assert float(seen.float().mean()) > 0.6
    exact = psnr(warp_back(there, flow), here, seen)
    assert exact > 29
    assert exact > psnr(there, here, seen) + 8
    shifted = torch.stack([flow[0] + 0.25, flow[1] - 0.25])
    assert exact > psnr(warp_back(there, shifted), here, seen) + 1


def test_flow_is_measured_in_pixels_of_the_size_asked_for(scene: Scene) -> None:
    small, large = scene.flow(0, 90, 160), scene.flow(0, 180, 320)
    both = ~small.occluded & ~large.occluded[::2, ::2] & ~large.occluded[1::2, 1::2]
    mean = F.avg_pool2d(large.flow[None], 2)[0]
    assert torch.allclose(mean[:, both], 2 * small.flow[:, both], atol=1e-3)


def test_camera_and_objects_move_each_in_its_own_way(scene: Scene) -> None:
    flow, occluded = scene.flow(0, *SIZE)
    speed = flow.norm(dim=0) * 2160 / SIZE[0]
    assert float(speed.median()) > 2 and float(speed.max()) < 60  # pixels a frame at 4K
    owners = scene._owners(0, *SIZE)
    moves = {i: flow[:, torch.from_numpy(owners == i)].mean(dim=1) for i in range(8) if (owners == i).sum() > 50}
    assert len(moves) == len(scene.layers)
    kite, ball, board = (
        moves[[layer.name for layer in scene.layers].index(name)] for name in ("kite", "ball", "board")
    )
    assert min(float((a - b).norm()) for a, b in ((kite, ball), (kite, board), (ball, board))) > 0.5


def test_objects_hide_one_another(scene: Scene) -> None:
    names = [layer.name for layer in scene.layers]
    kite, ball = names.index("kite"), names.index("ball")
    covered = np.isin(scene._owners(0, *SIZE), (ball, -1 - ball))
    scene_without = Scene.__new__(Scene)
    scene_without.layers = tuple(layer for layer in scene.layers if layer.name != "kite")
    free = np.isin(scene_without._owners(0, *SIZE), (ball - 1, -ball))
    assert kite < ball and covered.sum() < 0.9 * free.sum()


def test_what_the_next_frame_hides_is_marked(scene: Scene) -> None:
    flow, occluded = scene.flow(0, *SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    px, py = x + flow[0].numpy(), y + flow[1].numpy()
    outside = (px < 0) | (py < 0) | (px > SIZE[1] - 1) | (py > SIZE[0] - 1)
    assert outside.any() and occluded.numpy()[outside].all()
    here, there = scene._owners(0, *SIZE), scene._owners(1, *SIZE)
    near = there[np.clip(np.rint(py), 0, SIZE[0] - 1).astype(int), np.clip(np.rint(px), 0, SIZE[1] - 1).astype(int)]
    hidden = (here >= 0) & (near >= 0) & (here != near) & ~outside
    assert hidden.sum() > 100 and occluded.numpy()[hidden].all()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    first, again, other = (Scene(seed, density=250.0).render(5, 90, 160) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert psnr(first, other) < 25


def test_no_view_wider_than_the_scene(scene: Scene) -> None:
    with pytest.raises(UserError, match="400x100"):
        scene.render(0, 100, 400)
    assert scene.render(0, 100, 50).shape == (3, 100, 50)


def test_noise_is_the_same_function_at_any_resolution() -> None:
    fine, coarse = fractal((512, 768), 3, 4.0), fractal((128, 192), 3, 4.0)
    small = F.avg_pool2d(torch.from_numpy(fine)[None, None], 4)[0, 0].numpy()
    assert np.corrcoef(small.ravel(), coarse.ravel())[0, 1] > 0.98
    assert abs(fine.mean()) < 0.4 and 0.6 < fine.std() < 1.5


def test_sampling_a_texture_interpolates_its_linear_light() -> None:
    def paint(y: np.ndarray, x: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        return np.sqrt(np.stack([x + 0.5, y + 0.5, 0.25 + 0 * x], axis=-1)), np.ones_like(x)

    texture = Texture([painted((1.0, 1.0), (64, 64), paint)], 1.0, 1.0)
    xs, ys = np.linspace(-0.4, 0.4, 9), np.linspace(-0.3, 0.3, 7)
    got = texture.sample(np.eye(3), xs, ys, 0.01)
    assert np.abs(got[0].numpy() - (xs + 0.5)).max() < 0.006
    assert np.abs(got[1].numpy() - (ys + 0.5)[:, None]).max() < 0.006
    assert np.abs(got[3].numpy() - 1).max() < 1e-6
    assert float(texture.sample(np.eye(3), xs + 3, ys, 0.01).abs().max()) == 0.0


@pytest.mark.slow
def test_4k_has_detail_that_only_4k_can_hold_and_agrees_with_540_lines(seconds: Callable[[], float]) -> None:
    scene = Scene(0)
    large = linear(scene.render(0, 2160, 3840))
    small = linear(scene.render(0, 540, 960))
    assert psnr(F.avg_pool2d(large[None], 4)[0], small) > 34
    half = F.interpolate(F.avg_pool2d(large[None], 2), scale_factor=2, mode="bicubic")[0]
    assert psnr(half, large) < 32  # halving it loses a lot
    assert seconds() < 60


@pytest.fixture
def seconds() -> Callable[[], float]:
    """CPU seconds of this process since the test began."""
    import time

    start = time.process_time()
    return lambda: time.process_time() - start
