"""What a run will do, worked out and checked in full before anything is run or written."""
from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import package_versions
from benchmarks.frames import FloatFrames
from benchmarks.metrics import Metric, metrics
from benchmarks.source import code_of
from benchmarks.suites import SuiteClip, definition_of, load_folders, load_suite
from benchmarks.suites.examine import examine
from benchmarks.suites.folders import load_ground_truth
from patchvsr import weights
from patchvsr.degradation import degradations
from patchvsr.devices import device_of, dtype_name, dtype_of
from patchvsr.errors import UserError, nearest
from patchvsr.upscaler import Clip, Upscaler, Weights, create

DEFAULT_METRICS = "psnr ssim lpips consistency seam seam_step seam_t grid seconds fps peak_host_mib".split()
"""Of folders, and of suites that name none."""
FULL_REFERENCE = "psnr psnr_y ssim ssim_y ms_ssim lpips tlp".split()
"""What `--metrics full-reference` stands for: the pixel and perceptual metrics of papers that two cores can score."""
LONGEST = 80
"""Characters of a folder's name that come from the text it stands for; file systems allow about 255 in all."""
Maker = Callable[[str, torch.device, torch.dtype], Upscaler]
"""Makes a variant or baseline of its text."""
GROUPS = {"default": DEFAULT_METRICS, "full-reference": FULL_REFERENCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was typed, with nothing resolved yet. A `suite`, `lq`, or `gt` with a `degradation` is given."""

    variants: Sequence[str]
    suite: str | None = None
    lq: Path | None = None
    gt: Path | None = None
    scale: float | None = None
    frames: int | None = None
    clips: Sequence[str] = ()
    metrics: Sequence[str] | None = None
    data_root: Path | None = None
    degradation: str | None = None
    fetch: bool = False
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A clip whose frames have been read once: they fit together, and their hashes are known."""

    clip: SuiteClip
    frames: int
    height: int
    width: int
    lq_sha256: str
    gt_sha256: str | None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output."""
        return round(self.height * self.clip.scale), round(self.width * self.clip.scale)


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """A variant or baseline that could be made: the text as typed, and what it resolves to.

    `accepted` holds, by the name of the clip, what it told of each clip (`Upscaler.accept`); `code` is the hash of the
    source files that make its output.
    """

    text: str
    description: dict[str, Any]
    weights: Weights
    accepted: dict[str, dict[str, Any]]
    code: str = ""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One variant on one clip. `key` holds everything that decides the result, `hash` is its SHA-256."""

    variant: PlannedVariant
    clip: PlannedClip
    seed: int
    key: dict[str, Any]
    hash: str

    @property
    def output(self) -> Path:
        """Where the frames go, relative to the run directory."""
        return Path("outputs") / slug(self.variant.text) / slug(self.clip.clip.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: every item, variant by variant so that one model is in memory at a time."""

    items: list[WorkItem]
    variants: list[PlannedVariant]
    clips: list[PlannedClip]
    suite_clips: list[str]
    metrics: dict[str, Metric]
    seed: int
    device: torch.device
    dtype: torch.dtype

    @property
    def suite(self) -> str:
        """The suite's name in records."""
        return self.clips[0].clip.suite

    def items_of(self, variant: PlannedVariant) -> list[WorkItem]:
        """The items of one variant, clip by clip."""
        return [item for item in self.items if item.variant is variant]

    def describe(self) -> dict[str, Any]:
        """JSON-ready: the resolved configuration."""
        return {
            "suite": self.suite,
            "suite_clips": self.suite_clips,
            "seed": self.seed,
            "device": str(self.device),
            "dtype": dtype_name(self.dtype),
            "clips": [_describe_clip(clip) for clip in self.clips],
            "variants": [
                {
                    "variant": variant.text,
                    "describe": variant.description,
                    "accepted": {clip: told for clip, told in variant.accepted.items() if told},
                    "weights": {"status": variant.weights.status, "sha256": variant.weights.sha256},
                }
                for variant in self.variants
            ],
            "metrics": {name: metric.identity() for name, metric in self.metrics.items()},
            "items": [
                {"hash": item.hash, "variant": item.variant.text, "clip": item.clip.clip.name} for item in self.items
            ],
        }


def slug(text: str) -> str:
    """A folder name for `text`; where characters had to go, a piece of the hash keeps different texts apart."""
    plain = re.sub(r"[^A-Za-z0-9_.=+-]+", "_", text)[:LONGEST].strip(".")
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def make_plan(request: Request, made: Maker = create) -> Plan:
    """Resolve and check a request: reads every clip and makes every variant once.

    With `fetch`, weights that baselines and metrics lack are fetched; else such metrics are unavailable.

    Args:
        request: what was typed.
        made: makes a variant, or has it already.

    Raises:
        UserError: an unknown or repeated name, parts or weights that do not fit, clips that cannot be read or whose
            sizes or pictures do not fit, a metric's weights that cannot be fetched, or a device that is not there.
    """
    device = device_of(request.device)
    dtype = dtype_of(request.dtype, device)
    chosen = _metrics(request)
    clips, suite_clips = _clips(request)
    texts = _unique(request.variants, "variant")
    variants = [_variant(text, clips, device, dtype, request.fetch, made) for text in texts]
    planned = [_read(clip) for clip in clips]
    _check_lengths(chosen, planned)
    for metric in chosen.values():
        if request.fetch:
            for name in metric.fetches:
                weights.fetch(name)
        if metric.available() is None and (not metric.needs_target or any(clip.gt_sha256 for clip in planned)):
            metric.prepare()
    items = [_item(variant, clip, request.seed, device, dtype) for variant in variants for clip in planned]
    return Plan(items, variants, planned, suite_clips, chosen, request.seed, device, dtype)


def _metrics(request: Request) -> dict[str, Metric]:
    """The metrics asked for, or the suite's own, or the default; each as the suite's protocol has it."""
    suite = None if request.suite is None else definition_of(request.suite)
    named = request.metrics
    if named is None:
        named = suite.metrics if suite is not None and suite.metrics else DEFAULT_METRICS
    expanded = [name for word in named for name in GROUPS.get(word, [word])]
    if len(named) > 1 and any(word in GROUPS for word in named):
        expanded = list(dict.fromkeys(expanded))  # groups share names
    frames = {} if suite is None else suite.metric_frames
    made: dict[str, Metric] = {}
    for name in _unique(expanded, "metric"):
        kind: Callable[..., Metric] = metrics.get(name)
        made[name] = kind(frames=frames[name]) if name in frames else kind()
    return made


def _check_lengths(chosen: dict[str, Metric], clips: list[PlannedClip]) -> None:
    """Raise UserError where a clip lacks a frame that a metric's protocol scores."""
    for name, metric in chosen.items():
        for clip in clips:
            if clip.frames < metric.shortest:
                raise UserError(
                    f"metric '{name}' scores frames {metric.frames} by this suite's protocol and {clip.frames} of clip "
                    f"'{clip.clip.name}' are used; run whole clips (leave out --frames), or name other --metrics"
                )


def _unique(names: Iterable[str], kind: str) -> list[str]:
    seen: list[str] = []
    for name in names:
        if name in seen:
            raise UserError(f"{kind} '{name}' is named twice; leave one out")
        seen.append(name)
    if not seen:
        raise UserError(f"no {kind} is named; name at least one with --{kind}s")
    return seen


def _clips(request: Request) -> tuple[list[SuiteClip], list[str]]:
    """The clips asked for, and the names of all clips of their suite."""
    if request.suite is not None:
        found = load_suite(request.suite, request.data_root, request.frames, request.scale, request.degradation)
    elif request.lq is not None:
        if request.degradation is not None:
            raise UserError("--degradation makes the input from --gt; leave out one of --lq and --degradation")
        found = load_folders(request.lq, request.gt, request.scale, request.frames)
    elif request.gt is not None and request.degradation is not None:
        degradation = degradations.get(request.degradation)
        found = load_ground_truth(request.gt, degradation, request.scale, request.frames)
    else:
        raise UserError("nothing to run on: give --suite NAME, --lq DIR, or --gt DIR with --degradation NAME")
    by_name = {clip.name: clip for clip in found}
    if not request.clips:
        return found, list(by_name)
    for name in _unique(request.clips, "clip"):
        if name not in by_name:
            raise UserError(f"unknown clip '{name}' in suite '{found[0].suite}'{nearest(name, by_name)}")
    return [by_name[name] for name in request.clips], list(by_name)


def _variant(
    text: str, clips: list[SuiteClip], device: torch.device, dtype: torch.dtype, fetch: bool, made: Maker
) -> PlannedVariant:
    upscaler = _created(text, device, dtype, fetch, made)
    accepted = {
        clip.name: upscaler.accept(Clip(clip.name, FloatFrames(clip.lq()), clip.caption), clip.scale) for clip in clips
    }
    return PlannedVariant(text, upscaler.describe(), upscaler.weights, accepted, code_of(upscaler))


def _created(text: str, device: torch.device, dtype: torch.dtype, fetch: bool, made: Maker) -> Upscaler:
    absent = None
    while True:
        try:
            return made(text, device, dtype)
        except weights.WeightsAbsent as error:
            if not fetch or error.name == absent:
                raise
            absent = error.name
            weights.fetch(absent)


def _read(clip: SuiteClip) -> PlannedClip:
    found = examine(clip)
    return PlannedClip(clip, found.frames, found.height, found.width, found.lq_sha256, found.gt_sha256)


def _item(
    variant: PlannedVariant, clip: PlannedClip, seed: int, device: torch.device, dtype: torch.dtype
) -> WorkItem:
    key = {
        "suite": clip.clip.suite,
        "clip": _describe_clip(clip),
        "variant": variant.text,
        "describe": variant.description,
        "accepted": variant.accepted[clip.clip.name],
        "weights": variant.weights.sha256,
        "code": variant.code,
        "weights_status": variant.weights.status,
        "seed": seed,
        "device": device.type,
        "dtype": dtype_name(dtype),
        "packages": {**package_versions(["patchvsr", "diffusers"]), "torch": torch.__version__},
    }
    canonical = json.dumps(key, sort_keys=True, ensure_ascii=False)
    return WorkItem(variant, clip, seed, key, hashlib.sha256(canonical.encode()).hexdigest())


def _describe_clip(planned: PlannedClip) -> dict[str, Any]:
    clip = planned.clip
    return {
        "name": clip.name,
        "caption": clip.caption,
        "source": clip.source,
        "degradation": clip.degradation,
        "scale": clip.scale,
        "frames": planned.frames,
        "lq": [planned.height, planned.width],
        "output": list(planned.size),
        "lq_sha256": planned.lq_sha256,
        "gt_sha256": planned.gt_sha256,
    }
