"""What must be known of one set of weights before it is fetched, wherever it comes from."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import ClassVar

from patchvsr.errors import UserError
from patchvsr.weights.files import State, sha256_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(ABC):
    """Where one set of weights comes from and what it must be.

    Attributes:
        file: the original file, as a path inside its archive or repository.
        file_sha256: of that file; only its first digits where no more is published (torch.hub puts eight into names).
        convert: turns that file into the state dict to keep.
        sha256: of the converted tensors (`tensors_sha256`); None where the file could not be had when this was
            written: then the hash is recorded beside the tensors when they are stored, and checked against that.
        licence: of the weights.
        purpose: what they are for, in a few words.
    """

    kind: ClassVar[str]

    file: str
    file_sha256: str
    convert: Callable[[Path], State]
    sha256: str | None
    licence: str
    purpose: str

    @property
    @abstractmethod
    def description(self) -> str:
        """Where the file lies, in a few words."""

    @property
    def file_name(self) -> str:
        """The original file's name without folders."""
        return PurePosixPath(self.file).name

    @abstractmethod
    def download(self, name: str, folder: Path) -> Path:
        """The original file, unchecked; whatever is written goes into `folder`.

        Raises:
            UserError: it cannot be had, with what to do.
        """

    def accept(self, name: str, given: Path, folder: Path) -> Path:
        """The original file out of what the user brings: `given` itself, unless a source knows better."""
        return given

    def check(self, name: str, path: Path) -> str:
        """The SHA-256 of the original file at `path`, which must be the one that is known.

        Raises:
            UserError: it is another file.
        """
        found = sha256_file(path)
        if not found.startswith(self.file_sha256):
            expected = self.file_sha256 if len(self.file_sha256) == 64 else f"one that starts with {self.file_sha256}"
            raise UserError(
                f"{path.name} is not the {self.file_name} that weights '{name}' are made of: its SHA-256 is {found}, "
                f"expected {expected}; not used"
            )
        return found

    def provenance(self) -> dict[str, str]:
        """What is known of the source, to be kept beside the tensors."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"kind": self.kind} | {key: value for key, value in known.items() if isinstance(value, str)}
