"""A tiny training pack, and a run of the command on it."""
from __future__ import annotations

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from patchvsr.training import __main__ as command

FAST = ("--cpu", "--workers", "0")
SMALL = """
stage: 2
steps: 4
tile: 64
frame: 96
still_batch: 1
clip_batch: 1
clip_share: 0.25
warmup: 1
"""


def write_still(path, seed, size=(192, 192)):
    """A noise-like picture without detail finer than three pixels."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)


def write_manifest(folder, rows):
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    """Three stills, the last of them for validation."""
    folder = tmp_path_factory.mktemp("pack")
    rows = []
    for index in range(3):
        path = folder / f"{index}.png"
        write_still(path, index)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        split = "val" if index == 2 else "train"
        rows.append({"file": path.name, "sha256": digest, "caption": f"noise {index}", "split": split})
    write_manifest(folder, rows)
    return folder


@pytest.fixture
def config(tmp_path):
    """The small config as a file."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def train(config, pack):
    """Run the command on the pack: `train(out, *more)` gives its exit code."""

    def run(out, *more, data=pack):
        return command.main(["--config", str(config), "--data", str(data), "--out", str(out), *FAST, *more])

    return run
