"""Hashes, the cache's place, and safetensors files."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from patchvsr import weights
from patchvsr.errors import UserError


def test_load_safetensors_checks_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.ones(2)}, path)
    right = weights.sha256_file(path)
    assert torch.equal(weights.load_safetensors(path, right)["a"], torch.ones(2))
    assert torch.equal(weights.load_safetensors(path)["a"], torch.ones(2))
    with pytest.raises(UserError, match=f"{right}, expected {'0' * 64}"):
        weights.load_safetensors(path, "0" * 64)


def test_load_safetensors_refuses_pickles_and_missing_files(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"file\.pth is no safetensors file"):
        weights.load_safetensors(tmp_path / "file.pth")
    for sha256 in (None, "0" * 64):
        with pytest.raises(UserError, match=r"none\.safetensors cannot be read"):
            weights.load_safetensors(tmp_path / "none.safetensors", sha256)


@pytest.mark.parametrize(
    "change_one",
    [
        lambda state: {"b": state["a"]},
        lambda state: {"a": state["a"].reshape(2, 3)},
        lambda state: {"a": state["a"].to(torch.float64)},
        lambda state: {"a": state["a"] + 1},
        lambda state: {**state, "b": torch.zeros(1)},
    ],
)
def test_tensors_sha256_tells_names_shapes_dtypes_and_values_apart(change_one: object) -> None:
    state = {"a": torch.arange(6, dtype=torch.float32)}
    assert weights.tensors_sha256(state) == weights.tensors_sha256({"a": state["a"].clone()})
    assert weights.tensors_sha256(change_one(state)) != weights.tensors_sha256(state)  # type: ignore[operator]


def test_tensors_sha256_sees_values_not_strides_and_takes_any_shape_and_dtype() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    assert weights.tensors_sha256({"a": tensor.T}) == weights.tensors_sha256({"a": tensor.T.contiguous()})
    assert weights.tensors_sha256({"a": tensor.T}) != weights.tensors_sha256({"a": tensor.reshape(3, 2)})
    # Kept in the files of users: the hash must never change.
    state = {"a": torch.tensor(1.5), "b": torch.zeros(0, 3), "c": torch.ones(2, dtype=torch.bfloat16)}
    assert weights.tensors_sha256(state) == "20d70bf9998e503fd8b3bb2e3940770915c5d3b470efdecdf0f2f3aaa5e556c3"


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "own"))
    assert weights.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("PATCHVSR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache_dir() == tmp_path / "patchvsr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_dir() == Path.home() / ".cache" / "patchvsr"
