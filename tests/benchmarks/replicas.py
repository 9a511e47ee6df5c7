"""Small copies of the suites: the same clips in the same folders, with a few tiny frames each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import yaml
from torch import Tensor

import benchmarks.suites
from benchmarks.frames import whole
from benchmarks.suites import SuiteClip, definition_of
from benchmarks.suites.dataset import OWN
from benchmarks.suites.definition import Definition, Entry, Layout, read_definition
from patchvsr.degradation import degradations
from patchvsr.video import write_png_folder

FRAMES, WIDTH, HEIGHT = 3, 48, 32
DATASETS = ("reds4", "reds30", "vid4", "vid4_bd", "udm10", "spmcs", "youhq40", "videolq")


def noise(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Frames that show nothing, uint8."""
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 3, height, width), dtype=torch.uint8, generator=drawn)


def picture(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """A rough picture that moves to the right by a pixel per frame, another one for each seed; uint8."""
    drawn = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 2, (width + frames) // 8 + 2, generator=drawn)
    still = torch.nn.functional.interpolate(coarse, (height, width + frames), mode="bilinear")[0]
    still = still + 0.1 * torch.rand(still.shape, generator=drawn)
    frames_of = [still[..., frames - t : frames - t + width] for t in range(frames)]
    return torch.stack(frames_of).div(1.1).mul(255).round().to(torch.uint8)


def read_gt(clip: SuiteClip) -> Tensor:
    """The ground truth of a clip that has one, in memory."""
    frames = clip.gt()
    assert frames is not None
    return whole(frames)


def lowered(frames: Tensor, scale: float = 4, degradation: str = "bicubic", clip: str = "") -> Tensor:
    """The degradation itself, without any cache; uint8."""
    return torch.stack(list(degradations.get(degradation).stream(iter(frames), scale, clip)))


def same_input(found: Tensor, expected: Tensor, degradation: str) -> bool:
    """Whether two clips of input are the same: to the bit, but for what an encoder makes of a last bit's difference."""
    if degradation != "realworld":
        return torch.equal(found, expected)
    return found.shape == expected.shape and float((found.float() - expected.float()).abs().mean()) < 3


def known(name: str) -> Definition:
    """The definition of a suite that has a YAML file."""
    found = definition_of(name)
    assert found is not None
    return found


def yaml_suites() -> list[str]:
    """The suites of the package."""
    return sorted(file.stem for file in Path(benchmarks.suites.__file__).parent.glob("*.yaml"))


def shrunk(suite: Definition, frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> Definition:
    """The suite with all its clips, each of so many frames of so many pixels; only what the suite states is stated."""
    size = {"frames": frames, "width": width, "height": height}
    clips = tuple(
        replace(entry, **{key: value for key, value in size.items() if getattr(entry, key) is not None})
        for entry in suite.clips
    )
    return replace(suite, clips=clips, each={key: size[key] for key in suite.each})


def names(suite: Definition) -> list[str]:
    """The clips that a data root must hold; made up where the suite does not name them."""
    return [entry.name for entry in suite.clips] or [f"{index:03d}" for index in range(suite.count or 2)]


def truth(suite: Definition, index: int) -> Tensor:
    """What clip number `index` shows at full size."""
    entry = suite.clips[index] if suite.clips else Entry(name="", **suite.each)  # type: ignore[arg-type]
    return picture(entry.frames or FRAMES, entry.height or HEIGHT, entry.width or WIDTH, seed=index)


def build(suite: Definition, root: Path, layout: Layout = OWN, lq: bool = True, gt: bool = True) -> Path:
    """Write the suite's clips as folders of PNG files in one of its layouts; returns the data root.

    Args:
        suite: a shrunk one.
        root: where to.
        layout: whose sides are written, as far as it has them.
        lq: whether input that is part of the layout is written.
        gt: whether ground truth is.
    """
    for index, name in enumerate(names(suite)):
        high = truth(suite, index)
        if layout.gt is not None and suite.gt and gt:
            write_png_folder(high, place(suite, root, layout.gt, name))
        if layout.lq is not None and lq:
            low = lowered(high, suite.scale) if suite.gt else high
            write_png_folder(low, place(suite, root, layout.lq, name))
    return root


def place(suite: Definition, root: Path, template: str, clip: str) -> Path:
    """Where a layout has a clip."""
    return root / template.replace("{suite}", suite.suite).replace("{clip}", clip)


def replica(name: str, root: Path, layout: int = 0, lq: bool = True) -> Definition:
    """A shrunk suite that lies in `root`, in its official layout of that number."""
    suite = shrunk(known(name))
    build(suite, root, suite.layouts[layout], lq=lq)
    return suite


def as_yaml(suite: Definition, folder: Path, **changes: object) -> Path:
    """A suite file of the same name for the shrunk suite, with some fields changed; None leaves a field out."""
    data = yaml.safe_load(suite.path.read_text(encoding="utf-8"))
    data["each"] = dict(suite.each)
    for clip, entry in zip(data.get("clips") or (), suite.clips, strict=False):
        clip.update({key: getattr(entry, key) for key in ("frames", "width", "height") if key in clip})
    data.update(changes)
    path = folder / f"{suite.suite}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not None}))
    assert changes or read_definition(path) == replace(suite, path=path)
    return path


def break_png(path: Path) -> Path:
    """Cut an image short behind its header."""
    path.write_bytes(path.read_bytes()[:60])
    return path


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder with its size and time."""
    return {str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*")}
