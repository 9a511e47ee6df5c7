"""Original files: pickles that are not run, TorchScript that is not compiled, and damage."""
from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from patchvsr import weights
from patchvsr.errors import UserError

from .conftest import ARRAYS

# TorchScript is deprecated, and says so; CLIP's files are as they are.
pytestmark = pytest.mark.filterwarnings("ignore")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_arrays_unpickle_and_code_is_refused_and_not_run(tmp_path: Path) -> None:
    kernel = weights.read_arrays(pickle.dumps(ARRAYS))["layer"]["kernel"]
    assert np.array_equal(kernel, ARRAYS["layer"]["kernel"])
    with pytest.raises(UserError, match="system"):
        weights.read_arrays(pickle.dumps({"layer": Evil(tmp_path / "ran")}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"\x80\x04garbage", pickle.dumps(ARRAYS)[:-20]])
def test_damaged_arrays_are_a_sentence(data: bytes) -> None:
    with pytest.raises(UserError, match="damaged"):
        weights.read_arrays(data)


def test_state_dicts_are_unwrapped_freed_of_prefixes_and_of_shared_memory(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    torch.save({"params": {"module.a": whole, "b": whole.T, "c.module.d": whole[0]}, "epoch": 3}, tmp_path / "a.pth")
    state = weights.read_state_dict(tmp_path / "a.pth", "params")
    assert state.keys() == {"a", "b", "c.module.d"}
    assert torch.equal(state["b"], whole.T) and state["b"].is_contiguous()
    assert len({value.untyped_storage().data_ptr() for value in state.values()}) == 3


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_that_ask_for_code_are_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"a": Evil(tmp_path / "ran")}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"evil\.pth is damaged or holds more than tensors") as caught:
        weights.read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


class Log:
    """What a training program leaves beside its weights."""

    made = 0

    def __init__(self, value: float) -> None:
        Log.made += 1
        self.value = value

    def __setstate__(self, state: object) -> None:
        raise AssertionError("was filled")


def test_named_bystanders_are_stepped_over_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    log = Log(3.0)
    torch.save({"a": torch.ones(2), "logs": {"loss": [log, np.arange(3)]}, "times": {log: 1}}, path)
    made = Log.made
    names = [f"{__name__}.Log", "numpy.ndarray", "numpy.dtype"]
    names += [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]
    found = weights.pickles.read_checkpoint(path, names)
    assert torch.equal(found["a"], torch.ones(2)) and Log.made == made
    assert {type(value) for value in found["logs"]["loss"]} == {weights.pickles.Bystander}
    # They are allowed for that one reading only, and each by its own name.
    for others in ((), names[1:], [f"{__name__}.Lo"]):
        with pytest.raises(UserError, match=rf"\(it asks for {re.escape(__name__)}\.Log\); not loaded$"):
            weights.pickles.read_checkpoint(path, others)


def test_a_function_that_is_a_bystander_is_not_called(tmp_path: Path) -> None:
    torch.save({"a": Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    # torch itself refuses this module, whatever is allowed.
    with pytest.raises(UserError, match=rf"it asks for {os.name}\.system"):
        weights.pickles.read_checkpoint(tmp_path / "evil.pth", [f"{os.name}.system"])

    class Shout:
        def __reduce__(self) -> tuple:
            return print, ("shouted",)

    torch.save({"a": Shout()}, tmp_path / "shout.pth")
    found = weights.pickles.read_checkpoint(tmp_path / "shout.pth", ["builtins.print"])
    assert isinstance(found["a"], weights.pickles.Bystander)


def test_torch_s_advice_to_load_it_all_the_same_is_not_passed_on(tmp_path: Path) -> None:
    for content in (b"garbage", b"\x89PNG\r\n\x1a\n", pickle.dumps({"a": 1}, protocol=4)):
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(UserError, match=r"\(Unsupported operand \d+\); not loaded$"):
            weights.read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"other": {"a": torch.ones(1)}}, [torch.ones(1)]])
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"file\.pth holds no state dict"):
        weights.read_state_dict(tmp_path / "file.pth")
    with pytest.raises(UserError, match="holds no state dict under 'params'"):
        weights.read_state_dict(tmp_path / "file.pth", "params")


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04"])
def test_damaged_files_are_a_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(data)
    for read in (weights.read_state_dict, weights.read_torchscript):
        with pytest.raises(UserError, match=r"file\.pt is .*damaged") as caught:
            read(path)
        assert "\n" not in str(caught.value)


class Inner(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.norm = torch.nn.BatchNorm1d(2)
        self.mask = torch.ones(2)  # neither parameter nor buffer: no part of a state dict

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x)) * self.mask


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A compiled network, partly in half precision, with parameters that are views of one storage."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(Inner(), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).eval()
    shared = torch.randn(2, 4)
    network[1].weight = torch.nn.Parameter(shared[:, :2])
    network[2].weight = torch.nn.Parameter(shared[:, 2:])
    compiled = torch.jit.script(network)
    getattr(compiled, "1").half()
    torch.jit.save(compiled, tmp_path / "network.pt")
    return tmp_path / "network.pt"


def test_torchscript_gives_its_state_dict(script: Path) -> None:
    state = weights.read_torchscript(script)
    expected = torch.jit.load(script).state_dict()
    assert expected["1.weight"].dtype == torch.float16
    assert state.keys() == expected.keys()
    assert "0.norm.running_mean" in state and "0.mask" not in state
    for name, value in expected.items():
        assert torch.equal(state[name], value) and state[name].dtype == value.dtype, name
        assert state[name].is_contiguous()


def rewritten(script: Path, path: Path, replace: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(script) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, replace.get(name.partition("/")[2], source.read(name)))
    return path


def test_torchscript_archives_older_than_the_list_of_buffers_keep_every_tensor(script: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(script) as archive:
        codes = {name.partition("/")[2]: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    older = {name: re.sub(rb"^  __buffers__ = .*\n", b"", code, flags=re.MULTILINE) for name, code in codes.items()}
    assert older != codes
    state = weights.read_torchscript(rewritten(script, tmp_path / "older.pt", older))
    expected = weights.read_torchscript(script)
    assert state.keys() - expected.keys() == {"0.mask"} and state.keys() >= expected.keys()


def test_torchscript_archives_that_ask_for_code_are_refused_and_not_run(script: Path, tmp_path: Path) -> None:
    evil = rewritten(script, tmp_path / "evil.pt", {"data.pkl": pickle.dumps(Evil(tmp_path / "ran"))})
    with pytest.raises(UserError, match="system"):
        weights.read_torchscript(evil)
    assert not (tmp_path / "ran").exists()


def test_torchscript_with_a_storage_cut_short_is_refused(script: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="damaged"):
        weights.read_torchscript(rewritten(script, tmp_path / "cut.pt", {"data/0": b"\0\0"}))
