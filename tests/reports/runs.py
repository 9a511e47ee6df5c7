"""Run directories made without running anything: records as `benchmarks.run` writes them."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.metrics import metrics
from benchmarks.store import Output, Result, Score, Store, to_json

SIZE = 64


def value_of(variant: str, clip: str, metric: str) -> float:
    """A value that depends on all three, the same each time."""
    drawn = np.random.default_rng(int(hashlib.sha256(f"{variant} {clip} {metric}".encode()).hexdigest()[:8], 16))
    return float(0.5 + 0.1 * drawn.standard_normal())


def make_run(
    root: Path,
    variants: Sequence[str] = ("bicubic", "full"),
    clips: Sequence[str] = ("a", "b", "c"),
    names: Sequence[str] = ("psnr", "lpips", "seam", "seconds"),
    *,
    value: Callable[[str, str, str], float | None] = value_of,
    frames: int = 0,
    suite: str = "made",
    scale: float = 4,
    identity: Mapping[str, str] | None = None,
    weights: Mapping[str, str] | None = None,
    lq: str = "lq",
    cpu: str = "a processor",
    skip: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a complete run; with `frames`, outputs of noise as PNG."""
    store = Store(root)
    described: list[dict[str, Any]] = []
    known = {name: metrics.get(name)() for name in names if name in metrics}
    units = {name: known[name].unit if name in known else "" for name in names}
    identities = {name: (identity or {}).get(name, f"{name} v1 | of tests | crop 0") for name in names}
    said = [
        {"name": clip, "degradation": "bicubic v1", "scale": scale, "frames": max(frames, 1),
         "lq_sha256": f"{lq} {clip}", "gt_sha256": f"gt {clip}"}
        for clip in clips
    ]  # fmt: skip
    for variant in variants:
        for clip, description in zip(clips, said, strict=True):
            if (variant, clip) in skip:
                continue
            digest = hashlib.sha256(f"{suite} {variant} {clip} {lq} {scale}".encode()).hexdigest()
            values = {name: value(variant, clip, name) for name in names}
            scores = {name: _score(name, identities[name], units[name], values[name], frames) for name in names}
            path = f"outputs/{len(described)}"
            if frames:
                _draw(root / path, variant, clip, frames)
            store.save(
                Result(
                    hash=digest, key={"clip": description}, suite=suite, clip=clip, variant=variant, seed=0,
                    weights=(weights or {}).get(variant, "trained"), status="ok", scores=scores,
                    output=Output(path=path, width=SIZE, height=SIZE, frames=max(frames, 1), sha256="00"),
                    cuts={"rows": [SIZE // 2], "columns": [SIZE // 2], "frames": []},
                    measured={"seconds": 1.0 + len(variant)},
                )
            )  # fmt: skip
            described.append({"hash": digest, "variant": variant, "clip": clip})
    packages = {"patchvsr": "0", "torch": "0", "diffusers": "0"}
    where = {"cpu": cpu, "device": "cpu", "torch_threads": 1, "packages": packages}
    run = {"suite": suite, "suite_clips": list(clips), "clips": said, "items": described, "metrics": identities,
           "dtype": "float32", "argv": ["--suite", suite], "environment": where, "config": "suite: made\n", "seed": 0,
           "variants": [{"variant": variant, "describe": {}, "weights": {}} for variant in variants]}  # fmt: skip
    (root / "run.json").write_text(to_json(run))
    return root


def _score(name: str, identity: str, unit: str, value: float | None, frames: int) -> Score:
    if value is None:
        return Score(metric=name, identity=identity, unit=unit, status="undefined", message="not for this clip")
    each = [value + 0.01 * index for index in range(frames)] if frames > 1 and name in ("psnr", "lpips") else None
    return Score(metric=name, identity=identity, unit=unit, status="ok", value=value, per_frame=each)


def _draw(folder: Path, variant: str, clip: str, frames: int) -> None:
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(len(variant) + 100 * len(clip))
    for index in range(frames):
        picture = drawn.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{index:08d}.png")


def change(root: Path, **changes: Any) -> None:
    """Change one record's scores: `psnr=float("nan")`, or its status."""
    path = sorted((root / "items").glob("*.json"))[0]
    data = json.loads(path.read_text())
    for name, value in changes.items():
        if name == "status":
            data["status"], data["scores"], data["output"] = value, {}, None
        else:
            data["scores"][name]["value"] = value
    path.write_text(json.dumps(data))
