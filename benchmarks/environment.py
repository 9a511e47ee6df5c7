"""Where a run took place: what `run.json` says of the machine, the packages and the commit."""
from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "patchvsr torch torchvision diffusers transformers peft accelerate safetensors numpy pillow av pyiqa lpips "
    "scikit-video opencv-python-headless imageio-ffmpeg pandas scipy mlflow"
).split()


def package_versions(names: list[str] | tuple[str, ...] = tuple(PACKAGES)) -> dict[str, str | None]:
    """Installed versions by package name; None where a package is absent."""
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> str | None:
    if name == "patchvsr":  # the code that runs, which an old install's metadata may not be
        from patchvsr import __version__

        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit() -> dict[str, Any]:
    """`{"sha", "dirty"}` of this source tree; both None where it is not a git checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # Installed into another project's checkout, the answer would be that project's commit.
    if git("rev-parse", "--show-toplevel") != str(root):
        return {"sha": None, "dirty": None}
    changes = git("status", "--porcelain")
    return {"sha": git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def environment(device: str) -> dict[str, Any]:
    """Python, platform, processor, cores, threads, device, package versions and commit."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "packages": package_versions(),
        "commit": commit(),
    }


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
