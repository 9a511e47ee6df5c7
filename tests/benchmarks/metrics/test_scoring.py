"""One pass for all metrics: every frame read once, shared work done once, nothing kept, no metric in another's way."""
from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from benchmarks.frames import ClipFrames, whole
from benchmarks.metrics import Measurement, Metric, MetricUndefined, Sample, colour, metrics
from benchmarks.metrics import lpips as lpips_module
from benchmarks.metrics.scoring import score_all
from benchmarks.metrics.stream import FrameMetric, Instant, instants
from patchvsr.errors import UserError
from patchvsr.upscaler import Cuts
from tests.fetching import fetched

from .conftest import noisy, textured

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")  # scikit-video's

STREAMED = (
    "psnr psnr_y ssim ssim_y ms_ssim vmaf tof warp strred viideo flicker consistency seam seam_step seam_t seam_chunk "
    "grid".split()
)


class Counted:
    """Frames that count how often each was read, and can tell whether one is still in memory."""

    def __init__(self, frames: Tensor) -> None:
        self.frames, self.shape = frames, tuple(frames.shape)
        self.reads: Counter[int] = Counter()
        self.alive: list[weakref.ref[Tensor]] = []

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        for index, frame in enumerate(self.frames):
            self.reads[index] += 1
            copy = frame.clone()
            self.alive.append(weakref.ref(copy))
            yield copy
            del copy


def clip(count: int = 6, height: int = 256, width: int = 264) -> Sample:
    still = textured(count, height, width, grain=8)
    target = torch.stack([torch.roll(still[0], 2 * t, 2) for t in range(count)])
    lq = target[..., ::4, ::4].contiguous()
    cuts = Cuts((128,), (128,), (2, 4))
    return Sample(noisy(target, 6), target, lq, 4, cuts)


def counted(given: Sample) -> tuple[Sample, list[Counted]]:
    assert isinstance(given.output, Tensor) and isinstance(given.target, Tensor) and isinstance(given.lq, Tensor)
    sides = [Counted(frames) for frames in (given.output, given.target, given.lq)]
    return Sample(sides[0], sides[1], sides[2], given.scale, given.cuts), sides


def values(found: dict[str, Measurement | Exception]) -> dict[str, float]:
    for answer in found.values():
        if isinstance(answer, Exception):
            raise answer
    return {name: answer.value for name, answer in found.items() if isinstance(answer, Measurement)}


def test_together_metrics_give_bit_for_bit_what_each_gives_alone() -> None:
    given = clip()
    together = values(score_all({name: metrics.get(name)() for name in STREAMED}, given))
    assert together == {name: metrics.get(name)().score(given) for name in STREAMED}
    assert list(together) == STREAMED


def test_networks_too_give_bit_for_bit_what_each_gives_alone() -> None:
    fetched("lpips-alex", "lpips-vgg", "dists", "niqe", "brisque")
    names = ["lpips", "tlp", "lpips_vgg", "dists", "niqe", "brisque"]
    given = clip(3, 96, 200)
    together = values(score_all({name: metrics.get(name)() for name in names}, given))
    assert together == {name: metrics.get(name)().score(given) for name in names}


def test_every_frame_is_read_exactly_once() -> None:
    given, sides = counted(clip())
    found = score_all({name: metrics.get(name)() for name in STREAMED}, given)
    assert all(isinstance(answer, Measurement) for answer in found.values())
    for side in sides:
        assert side.reads == Counter(range(6))


def counting(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[int]:
    """Counts the calls of a function, in the one number of the list."""
    calls = [0]
    original: Callable[..., object] = getattr(owner, name)

    def wrapped(*args: object, **options: object) -> object:
        calls[0] += 1
        return original(*args, **options)

    monkeypatch.setattr(owner, name, wrapped)
    return calls


def test_luma_and_the_enlarged_input_are_made_once_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    luma = counting(monkeypatch, colour, "y_studio")
    enlarged = counting(monkeypatch, colour, "resize_bicubic")
    given = clip(6)
    without = Sample(given.output, None, given.lq, 4, given.cuts)
    score_all({name: metrics.get(name)() for name in ("psnr_y", "ssim_y", "vmaf", "strred", "viideo")}, given)
    assert luma[0] == 2 * 6
    found = score_all({name: metrics.get(name)() for name in ("flicker", "warp", "grid", "seam_chunk")}, without)
    assert values(found) and enlarged[0] == 6


def test_lpips_and_tlp_share_features_two_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched("lpips-alex")
    calls = counting(monkeypatch, lpips_module, "features")
    given = clip(4, 64, 64)
    values(score_all({name: metrics.get(name)() for name in ("lpips", "tlp")}, given))
    assert calls[0] == 2 * 4
    calls[0] = 0
    values(score_all({"tlp": metrics.get("tlp")()}, given))
    assert calls[0] == 2 * 4
    # Another crop is another picture.
    calls[0] = 0
    values(score_all({"whole": metrics.get("lpips")(), "cropped": lpips_module.LpipsAlex(crop=4)}, given))
    assert calls[0] == 4 * 4


def test_flow_is_made_once_per_side_and_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.metrics import flow, tof, warp

    grey = counting(monkeypatch, flow, "grey8")
    far, dis = counting(monkeypatch, tof, "farneback"), counting(monkeypatch, warp, "dis")
    values(score_all({name: metrics.get(name)() for name in ("tof", "warp")}, clip(4, 64, 64)))
    assert grey[0] == 2 * 4
    assert far[0] == 2 * 3 and dis[0] == 2 * 3


class _Failing(FrameMetric):
    id = "failing"
    source = "a test"

    def value(self, instant: Instant) -> float:
        """Fail at the third frame."""
        if instant.index == 2:
            raise MetricUndefined("failing: frame 2 has no value")
        return 1.0


class _Refusing(_Failing):
    def check(self, sample: Sample) -> None:
        """Refuse everything."""
        raise ZeroDivisionError("a mistake in the metric")


def test_a_metric_that_fails_does_not_touch_the_others() -> None:
    given, sides = counted(clip())
    chosen: dict[str, Metric] = {"failing": _Failing(), "psnr": metrics.get("psnr")(), "refusing": _Refusing()}
    found = score_all(chosen, given)
    assert list(found) == ["failing", "psnr", "refusing"]
    assert isinstance(found["failing"], MetricUndefined) and "frame 2" in str(found["failing"])
    assert isinstance(found["refusing"], ZeroDivisionError)
    answer = found["psnr"]
    assert isinstance(answer, Measurement) and answer.per_frame is not None and len(answer.per_frame) == 6
    assert sides[0].reads == Counter(range(6))


def test_without_ground_truth_only_what_needs_it_is_undefined() -> None:
    given = clip()
    without = Sample(given.output, None, given.lq, 4, given.cuts)
    found = score_all({name: metrics.get(name)() for name in STREAMED}, without)
    undefined = {name for name, answer in found.items() if isinstance(answer, MetricUndefined)}
    assert undefined == {name for name in STREAMED if metrics.get(name)().needs_target}
    assert all(isinstance(found[name], Measurement) for name in set(STREAMED) - undefined)


@pytest.mark.parametrize("side", ["output", "target", "lq"])
@pytest.mark.parametrize("damage", ["error", "short", "long"])
def test_a_clip_that_cannot_be_read_to_its_end_fails_all(side: str, damage: str) -> None:
    given = clip()
    frames = getattr(given, side)

    def broken() -> Iterator[Tensor]:
        if damage == "error":
            yield from frames[:3]
            raise UserError("frame 3 is damaged")
        yield from frames[:5] if damage == "short" else torch.cat([frames, frames[:1]])

    count, _, height, width = frames.shape
    sides = {"output": given.output, "target": given.target, "lq": given.lq}
    sides[side] = ClipFrames((count, height, width), broken, "the clip")
    damaged = Sample(sides["output"], sides["target"], sides["lq"], 4, given.cuts)  # type: ignore[arg-type]
    found = score_all({name: metrics.get(name)() for name in ("psnr", "flicker", "seam", "vmaf")}, damaged)
    for answer in found.values():
        assert isinstance(answer, UserError) and not isinstance(answer, MetricUndefined)
        assert {"error": "damaged", "short": "only 5", "long": "more frames"}[damage] in str(answer)


def test_a_failing_disk_fails_all_and_raises_nothing() -> None:
    given = clip()

    def broken() -> Iterator[Tensor]:
        yield from given.lq
        raise OSError("input/output error")

    count, _, height, width = given.lq.shape
    lq = ClipFrames((count + 1, height, width), broken, "it")
    longer = [torch.cat([whole(side), whole(side)[:1]]) for side in (given.output, given.target)]  # type: ignore[arg-type]
    found = score_all({"psnr": metrics.get("psnr")()}, Sample(longer[0], longer[1], lq, 4, given.cuts))
    assert isinstance(found["psnr"], OSError)


def test_no_frame_older_than_the_one_before_is_in_memory() -> None:
    given, sides = counted(clip())
    watched: list[int] = []

    class Watching(FrameMetric):
        id = "watching"
        source = "a test"

        def value(self, instant: Instant) -> float:
            """Count the frames in memory."""
            gc.collect()
            watched.append(max(sum(ref() is not None for ref in side.alive) for side in sides))
            return 1.0

    chosen: dict[str, Metric] = {name: metrics.get(name)() for name in STREAMED}
    values(score_all({**chosen, "watching": Watching()}, given))
    assert watched == [1, 2, 2, 2, 2, 2]


def test_what_metrics_derive_is_dropped_unless_the_next_frame_asks_for_it() -> None:
    made: dict[str, list[weakref.ref[Tensor]]] = {"kept": [], "dropped": []}
    earlier: list[Instant] = []
    for instant in instants(clip(4, 32, 32), frozenset({"kept"})):
        for key, refs in made.items():
            tensor = instant.shared(f"{key} output", lambda: torch.zeros(3))
            refs.append(weakref.ref(tensor))
            del tensor
        gc.collect()
        alive = {key: [ref() is not None for ref in refs] for key, refs in made.items()}
        index = instant.index
        assert alive["dropped"] == [False] * index + [True]
        assert alive["kept"] == [False] * (index - 1) + [True] * min(index + 1, 2)
        assert (instant.before is None) == (index == 0)
        assert instant.before is None or instant.before.before is None
        del instant
    assert not earlier


def test_metrics_of_the_run_alone_need_no_pass() -> None:
    given, sides = counted(clip())
    measured = Sample(given.output, given.target, given.lq, 4, given.cuts, {"seconds": 2.0})
    found = score_all({"seconds": metrics.get("seconds")(), "fps": metrics.get("fps")()}, measured)
    assert values(found) == {"seconds": 2.0, "fps": 3.0}
    assert sides[0].reads == Counter()


def test_nan_in_a_pass_is_no_measurement() -> None:
    class Nan(FrameMetric):
        id = "nan"
        source = "a test"

        def value(self, instant: Instant) -> float:
            """Not a number."""
            return float("nan")

    found = score_all({"nan": Nan(), "psnr": metrics.get("psnr")()}, clip(2, 32, 32))
    assert isinstance(found["nan"], MetricUndefined)
    assert isinstance(found["psnr"], Measurement)
