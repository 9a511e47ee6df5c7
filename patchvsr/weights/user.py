"""Weights that only the user can bring: released files that are not downloaded, and checkpoints of the user's own."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors import SafetensorError
from safetensors.torch import load_file

from patchvsr.errors import UserError
from patchvsr.weights.files import State, cache_dir, keep, provenance, sha256_file, tensors_sha256
from patchvsr.weights.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought(Source):
    """A released file that is never downloaded, only taken from the user's hands and checked.

    Attributes:
        published: the address where the user gets it.
        otherwise: a clause that tells who brings another file what to do with it; empty where there is nothing to do.
    """

    kind: ClassVar[str] = "user"

    published: str
    otherwise: str = ""

    @property
    def description(self) -> str:
        """Where the user gets the file."""
        return self.published

    def download(self, name: str, folder: Path) -> Path:
        """Nothing: it cannot be had without the user.

        Raises:
            UserError: always, with where the file is published.
        """
        raise UserError(
            f"weights '{name}' are not in the cache and cannot be downloaded by this command; get {self.file_name} at "
            f"{self.published} and run `patchvsr weights fetch {name} --from FILE`"
        )

    def check(self, name: str, path: Path) -> str:
        """See `Source.check`.

        Raises:
            UserError: it is another file.
        """
        try:
            return Source.check(self, name, path)  # A dataclass with slots is made twice, which breaks super().
        except UserError as error:
            raise UserError(f"{error}; {self.otherwise}" if self.otherwise else str(error)) from None


def load_own(path: Path, family: str, convert: Callable[[Path], State]) -> tuple[State, str]:
    """The tensors of a checkpoint of the user's own, on the CPU, and the SHA-256 of the file, to be quoted in records.

    The file is converted the first time that it is used. What became of it is kept in the cache by the file's hash, and
    read from there, checked, as long as the file stays the same; a damaged copy is made anew.

    Args:
        path: the file.
        family: of the networks that the tensors are for; a word that can stand in a file's name.
        convert: turns the file into the state dict to keep, and refuses it if it does not fit.

    Raises:
        UserError: the file is missing, cannot be read or does not fit, or the cache cannot be written to.
    """
    path = path.expanduser()
    if path.is_dir():
        raise UserError(f"weights file {path} is a folder; give the path of a checkpoint, such as {path / 'x.pth'}")
    try:
        sha256 = sha256_file(path)
    except FileNotFoundError as error:
        raise UserError(f"weights file {path} does not exist; give the path of a checkpoint") from error
    except OSError as error:
        raise UserError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    kept = cache_dir() / "weights" / "own" / f"{family}-{sha256}.safetensors"
    state = _kept(kept, sha256)
    if state is None:
        state = convert(path)
        about = {"kind": "user", "name": family, "file": path.name, "file_sha256": sha256}
        try:
            keep(state, kept, about | {"sha256": tensors_sha256(state)})
        except OSError as error:
            raise UserError(
                f"converted weights of {path.name} cannot be kept in {kept.parent}: {error.strerror or error}; set "
                "PATCHVSR_CACHE to a folder with room that can be written to"
            ) from error
    return state, sha256


def _kept(path: Path, file_sha256: str) -> State | None:
    """What was kept of the file with this hash, or None where nothing whole is."""
    about = provenance(path)
    if about.get("file_sha256") != file_sha256:
        return None
    try:
        state = load_file(path)
    except (OSError, SafetensorError):
        return None
    return state if tensors_sha256(state) == about.get("sha256") else None
