"""Suites of clips by name.

Every YAML file in this folder is a suite, and the path of any other such file stands wherever a name does. A package
adds one by name through an entry point in the group `patchvsr.suites` whose object is the `pathlib.Path` of such a
file, or a function `(data_root, frames, scale) -> list[SuiteClip]`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suites.clip import SuiteClip
from benchmarks.suites.folders import load_folders
from patchvsr.errors import UserError, nearest
from patchvsr.registry import Registry

if TYPE_CHECKING:
    from benchmarks.suites.definition import Definition

__all__ = ["SuiteClip", "definition_of", "load_folders", "load_suite", "suite_name", "suites"]

SuiteLoader = Callable[[Path | None, int | None, float | None], list[SuiteClip]]
suites: Registry[SuiteLoader | Path] = Registry("suites")
for _file in sorted(Path(__file__).parent.glob("*.yaml")):
    suites.register(_file.stem)(_file)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def suite_name(name: str) -> str:
    """What a suite is called in files and records, given its name or the path of its YAML file."""
    return Path(name).stem if _is_file(name) else name


def definition_of(name: str) -> Definition | None:
    """What a suite's YAML file says, by the suite's name or the file's path; None for a suite that a function makes.

    Raises:
        UserError: the suite is unknown (the message gives the nearest names), or its file is wrong or has the name of
            another suite.
    """
    if _is_file(name):
        return _of_file(Path(name))
    if name not in suites:
        raise UserError(f"unknown suite '{name}'{nearest(name, suites)}; or give the path of a YAML file")
    entry = suites.get(name)
    if not isinstance(entry, os.PathLike):
        return None
    from benchmarks.suites.definition import read_definition

    return read_definition(Path(entry))


def _of_file(path: Path) -> Definition:
    from benchmarks.suites.definition import read_definition

    if not path.is_file():
        raise UserError(f"there is no suite file '{path}'; give the path of a YAML file, or one of {', '.join(suites)}")
    definition = read_definition(path)
    known = suites.get(definition.suite) if definition.suite in suites else path
    if not isinstance(known, os.PathLike) or not Path(known).samefile(path):
        raise UserError(
            f"suite file '{path}' is called '{definition.suite}' as another suite is, which its results would be taken "
            "for; rename the file"
        )
    return definition


def load_suite(
    name: str,
    data_root: Path | None = None,
    frames: int | None = None,
    scale: float | None = None,
    degradation: str | None = None,
) -> list[SuiteClip]:
    """The clips of a suite, with nothing read of them yet but what their sizes need.

    Args:
        name: of the suite, or the path of its YAML file.
        data_root: folder with the suite's official or own data; None for what the suite embeds.
        frames: use the first so many of each clip; None for the suite's own number.
        scale: another scale than the suite's own.
        degradation: makes the input from the ground truth, in the place of the suite's own input or degradation.

    Raises:
        UserError: the suite is unknown (the message gives the nearest names), its data is missing or not the right
            one, or the frames or scale asked for are not possible.
    """
    definition = definition_of(name)
    if data_root is not None and not data_root.is_dir():
        raise UserError(f"the data root {data_root} is not a folder")
    if scale is not None and not 1 <= scale < float("inf"):
        raise UserError(f"scale {scale:g} is not possible; give a number of at least 1")
    if definition is None:
        entry = suites.get(name)
        assert not isinstance(entry, Path)
        if degradation is not None:
            raise UserError(f"suite '{name}' is made by a function, which takes no degradation")
        return entry(data_root, frames, scale)
    from benchmarks.suites.definition import load_definition

    if degradation is not None:
        definition = definition.degraded_by(degradation)
    return load_definition(definition, data_root, frames, scale)
