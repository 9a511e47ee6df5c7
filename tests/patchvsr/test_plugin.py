"""A third-party package adds components through entry points: a real package, really installed."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "patchvsr-dummy"
version = "1.0"

[project.entry-points."patchvsr.modulation"]
flat = "patchvsr_dummy:Flat"

[project.entry-points."patchvsr.upscalers"]
grey = "patchvsr_dummy:Grey"

[tool.setuptools]
py-modules = ["patchvsr_dummy"]
"""

MODULE = '''
import torch
from patchvsr.modulation import modulations
from patchvsr.upscaler import Upscaler


class Flat(modulations.get("average")):
    """Plain averaging under another name."""


class Grey(Upscaler):
    name = "grey"

    def __init__(self, overrides, device, dtype):
        pass

    def upscale(self, clip, scale, seed=0, progress=None):
        height, width = (round(size * scale) for size in clip.frames.shape[-2:])
        yield torch.full((len(clip.frames), 3, height, width), 0.5)

    def describe(self):
        return {"kind": "grey"}
'''

SCRIPT = """
import torch
from patchvsr.upscaler import Clip, create
from patchvsr.variants import resolve
from patchvsr.modulation import modulations

print(resolve("full:modulation=flat").modulation, "flat" in modulations.names())
print(next(create("grey").upscale(Clip("c", torch.zeros(2, 3, 4, 5)), 2)).shape)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "patchvsr_dummy.py").write_text(MODULE)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index",
               "--target", str(target), str(source)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


def test_an_installed_package_adds_a_component_and_an_upscaler(installed):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["flat True", "torch.Size([2, 3, 8, 10])"]
