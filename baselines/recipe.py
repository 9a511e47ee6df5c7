"""How an external program is run on a clip: what is typed after `command:`, or a YAML file that says it."""
from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from patchvsr.errors import UserError, nearest
from patchvsr.notation import ARGUMENT

PLACEHOLDERS = (
    "input", "output", "scale", "clip", "frames", "width", "height", "out_width", "out_height", "caption", "seed",
    "fps",
)  # fmt: skip
INPUTS = ("frames", "video", "videos")

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One external program.

    Attributes:
        run: the command line, split as a shell splits it, with placeholders in braces; no shell runs it.
        input: what `{input}` is: a folder of PNG `frames`, one lossless `video`, or a folder that holds that video
            (`videos`).
        result: what the program leaves in `{output}` that is the clip, with `{clip}` for its name; empty where nothing
            else looks like a clip there.
        fps: frame rate of the video.
        timeout: seconds that one clip may take.
        cwd: where it runs, such as the method's checkout; empty for here.
        env: variables it gets beside this process's own.
    """

    run: str
    input: str = "frames"
    result: str = ""
    fps: float = 25.0
    timeout: float = 3600.0
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, values: Mapping[str, object]) -> list[str]:
        """The program and its arguments, placeholders filled; a value with spaces stays one argument."""
        return [_PLACEHOLDER.sub(lambda match: str(values[match[1]]), part) for part in shlex.split(self.run)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"env": dict(self.env)}


def recipe_of(given: Mapping[str, str]) -> Recipe:
    """The recipe in the overrides of `command`.

    The argument is the command line itself or, where it is one word that ends in .yaml or .yml, a file with the fields
    of `Recipe`; other overrides go before the file's.

    Raises:
        UserError: no command, an unknown field or placeholder, a value that cannot be, a file that cannot be read, or
            variables that are not set.
    """
    text = given.get(ARGUMENT, "").strip()
    if not text:
        raise UserError('baseline \'command\' needs a command: command:"program --in {input} --out {output}"')
    from_file = re.fullmatch(r"\S+\.ya?ml", text) is not None
    data = _file(Path(text).expanduser()) if from_file else {"run": text}
    data |= {key: value for key, value in given.items() if key != ARGUMENT}
    known = [entry.name for entry in fields(Recipe)]
    for key in data:
        if key not in known:
            raise UserError(f"baseline 'command' has no option '{key}'{nearest(key, known)}")
    recipe = Recipe(**{key: _READERS.get(key, _text)(key, value) for key, value in data.items()})
    _check(recipe)
    return recipe


def _file(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or "run" not in data:
        raise UserError(f"recipe {path} has no field 'run' with the command; write run: program --in {{input}} ...")
    return data


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{key}={value!r} of baseline 'command' must be text")
    return " ".join(value.split()) if key == "run" else value


def _positive(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"{key}={value} of baseline 'command' must be a number above 0")
    return number


def _folder(key: str, value: Any) -> str:
    path = _expanded(key, _text(key, value))
    if path and not Path(path).is_dir():
        raise UserError(f"{key}={path} of baseline 'command' is no folder")
    return path


def _env(key: str, value: Any) -> dict[str, str]:
    """Variables as a mapping, or from a file with lines NAME=VALUE."""
    given = _environment_file(Path(value).expanduser()) if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise UserError(f"{key} of baseline 'command' must be a mapping of names to values, or a file of NAME=VALUE "
                        "lines")  # fmt: skip
    return {str(name): _expanded(f"{key} {name}", str(text)) for name, text in given.items()}


_READERS: dict[str, Callable[[str, Any], Any]] = {"fps": _positive, "timeout": _positive, "cwd": _folder, "env": _env}


def _environment_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"environment file {path} cannot be read: {error}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or not name.isidentifier():
            raise UserError(f"line {number} of environment file {path} is not NAME=VALUE")
        found[name] = value
    return found


def _expanded(what: str, text: str) -> str:
    """With ~ and $NAME replaced.

    Raises:
        UserError: a variable is not set.
    """
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if name not in os.environ:
            raise UserError(f"{what} of baseline 'command' speaks of ${name}, which is not set; export {name}=...")
    return os.path.expanduser(os.path.expandvars(text))


def _check(recipe: Recipe) -> None:
    if recipe.input not in INPUTS:
        raise UserError(f"input={recipe.input} of baseline 'command' is unknown{nearest(recipe.input, INPUTS)}")
    try:
        parts = shlex.split(recipe.run)
    except ValueError as error:
        raise UserError(f"the command '{recipe.run}' cannot be split into words: {error}") from error
    if not parts:
        raise UserError("the command of baseline 'command' is empty; write run: program --in {input} ...")
    used = set(_PLACEHOLDER.findall(recipe.run))
    for name in sorted(used - set(PLACEHOLDERS)):
        raise UserError(f"the command has the unknown placeholder {{{name}}}{nearest(name, PLACEHOLDERS)}")
    for name in ("input", "output"):
        if name not in used:
            raise UserError(f"the command '{recipe.run}' lacks the placeholder {{{name}}}; put it where the path goes")
