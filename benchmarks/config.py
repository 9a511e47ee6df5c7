"""A run's options from a YAML file: `python -m benchmarks.run --config sweep.yaml`.

Keys are the long names of the command line's options, with `-` or `_`; values have the options' types. A list is a YAML
list, or has commas as on the command line. Paths are relative to the current folder, as on the command line. `null` is
as if the key was not there.

    suite: 4k
    frames: 2
    metrics: [psnr, lpips]
    variants:
      - bicubic
      - {variant: full, steps: [2, 4], tile: 256}

A mapping in `variants` is the product of its lists, the last key going fastest: here `full:steps=2,tile=256` and
`full:steps=4,tile=256`.

Flags given on the command line override the file. Such a flag takes the place of the file's value as a whole (lists
are not joined), and of what excludes it: `--lq DIR` puts the file's `suite` aside, and the other way round. No flag
turns off a switch that the file turns on, such as `fetch: true`.
"""
from __future__ import annotations

import argparse
from collections.abc import Hashable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import yaml

from patchvsr.errors import UserError, nearest
from patchvsr.notation import split_list, split_name

COMMANDS = ("help", "list", "config", "print_config", "dry_run")
"""Options that say what is to happen in the place of a run, or what is read; they are no configuration."""

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    list: "a list of names, or names with commas between",
}


def apply(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line, on top of those of the file that its `--config` names.

    Args:
        parser: has an option `--config`; each option's type is a class, a function that says what it returns, or None.
        arguments: of the command line.

    Raises:
        UserError: the file cannot be read, has a key that there is not or a value of the wrong type, or two keys that
            exclude each other.
    """
    options = parser.parse_args(arguments)
    if options.config is None:
        return options
    # Where None stands for every default, what is something else was given.
    unset = argparse.Namespace(**dict.fromkeys(vars(options)))
    given = {name for name, value in vars(parser.parse_args(arguments, unset)).items() if value is not None}
    aside = given.union(*(names for names in _exclusive(parser) if names & given))
    values = {name: value for name, value in read_config(parser, Path(options.config)).items() if name not in aside}
    return parser.parse_args(arguments, argparse.Namespace(**values))


def read_config(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """The options that a file gives, by the parser's names for them, with values as the parser would make them.

    Raises:
        UserError: see `apply`.
    """
    known = {action.dest: action for action in parser._actions if action.dest not in COMMANDS}
    written: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, value in _load(path).items():
        name = str(key).replace("-", "_")
        if name in COMMANDS:
            raise UserError(f"{path}: '{key}' belongs on the command line; leave it out")
        if name not in known:
            raise UserError(f"{path}: unknown key '{key}'{nearest(str(key), map(_key, known))}")
        if name in written:
            raise UserError(f"{path}: '{written[name]}' and '{key}' are one option; leave one out")
        written[name] = str(key)
        if value is None:
            continue
        try:
            values[name] = _value(known[name], value)
        except UserError as error:
            raise UserError(f"{path}: {key}: {error}") from error
    for names in _exclusive(parser):
        if len(both := [written[name] for name in values if name in names]) > 1:
            raise UserError(f"{path}: {' and '.join(map(repr, both))} exclude each other; leave one out")
    return values


def resolved(options: argparse.Namespace) -> str:
    """All options as YAML, defaults included; as a file for `--config`, it gives the same options.

    Raises:
        UserError: `options.variants` is not a list of variants.
    """
    data = {_key(name): value for name, value in vars(options).items() if name not in COMMANDS}
    if options.variants is not None:
        data["variants"] = split_list(options.variants)
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in data.items()}
    return yaml.safe_dump(plain, allow_unicode=True)


def _key(name: str) -> str:
    return name.replace("_", "-")


def _exclusive(parser: argparse.ArgumentParser) -> list[set[str]]:
    return [{action.dest for action in group._group_actions} for group in parser._mutually_exclusive_groups]


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice; YAML's own loader forgets the first value without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"'{name}' is given twice; leave one out")
        return super().construct_mapping(node, deep)


def _load(path: Path) -> dict[Hashable, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give --config a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict | None):
        raise UserError(f"{path} must be a mapping of options to values, such as 'suite: 4k', not {_shown(data)}")
    return data or {}


def _value(action: argparse.Action, value: Any) -> Any:
    """What the parser makes of a value; an error says what is expected."""
    if action.dest == "variants":
        return ",".join(_variants(value))
    kind, convert = _kind(action), action.type
    if kind is list and isinstance(value, list):
        _check_names(value)
        return value
    expected: Any = {float: (int, float), Path: str, list: str}.get(kind, kind)
    if not isinstance(value, expected) or isinstance(value, bool) and kind is not bool:
        quotes = "; put it in quotes" if expected is str and not isinstance(value, dict | list) else ""
        raise UserError(f"must be {_WORDS[kind]}, not {_shown(value)}{quotes}")
    if callable(convert):
        try:
            value = convert(str(value))
        except (argparse.ArgumentTypeError, ValueError, TypeError) as error:
            raise UserError(str(error)) from error
    if action.choices is not None and value not in action.choices:
        raise UserError(f"unknown value '{value}'{nearest(str(value), map(str, action.choices))}")
    return value


def _kind(action: argparse.Action) -> Any:
    """The type that an option's value has: of a function, the one that it says it returns."""
    if action.nargs == 0:
        return bool
    made: Any = action.type
    if made is not None and not isinstance(made, type):
        hint = get_type_hints(made).get("return")
        made = get_origin(hint) or hint
    return made if made in _WORDS else str


def _check_names(names: list[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            # Without quotes, YAML makes the number 9 of a clip's name 011.
            raise UserError(f"must be {_WORDS[list]}; put {_shown(name)} in quotes")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"


def _variants(value: Any) -> list[str]:
    """Variants as typed, of one text or of a list of texts and mappings."""
    found: list[str] = []
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            found += split_list(entry)
        elif isinstance(entry, dict):
            found += _product(entry)
        else:
            raise UserError(f"must be text, or a list of texts and mappings with 'variant', not {_shown(entry)}")
    return split_list(",".join(found))


def _product(entry: dict[Hashable, Any]) -> Iterator[str]:
    """`{variant: full, steps: [2, 4]}` as `full:steps=2` and `full:steps=4`."""
    rest = dict(entry)
    variant = rest.pop("variant", None)
    if not isinstance(variant, str) or len(split_list(variant)) != 1:
        raise UserError(f"the mapping {entry} needs one name under 'variant', such as variant: full")
    for chosen in product(*(_overrides(key, value) for key, value in rest.items())):
        joint = "" if not chosen else "," if ":" in variant else ":"
        text = f"{variant}{joint}{','.join(chosen)}"
        split_name(text)  # refuses an override that `variant` has already
        yield text


def _overrides(key: Hashable, value: Any) -> list[str]:
    if not isinstance(key, str):
        raise UserError(f"the key {key!r} of a mapping in 'variants' is not text; put it in quotes")
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"'{key}' of a mapping in 'variants' has an empty list; give it a value, or leave it out")
    return [f"{key}={_notation(key, one)}" for one in values]


def _notation(key: str, value: Any) -> str:
    """A value as `patchvsr.notation` has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise UserError(f"'{key}' of a mapping in 'variants' must be text, a number, true or false, or a list of "
                        f"these, not {_shown(value)}")  # fmt: skip
    if value == value.strip() and not set(value) & {",", '"'}:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
