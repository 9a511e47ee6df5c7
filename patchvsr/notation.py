"""How variants and baselines are written: `full`, `full:steps=4,modulation=average`, `folder:outputs/dove`.

After a name and a colon come an argument, where the thing takes one, and overrides, separated by commas. Whatever
holds commas or quotes stands in double quotes, in which a backslash keeps the next quote or backslash as it is:
`command:"python run.py --in {input} --out {output}",timeout=600`.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from patchvsr.errors import UserError

ARGUMENT = ""
"""The key under which overrides hold what was written without one, as PATH of `folder:PATH`."""

_KEY = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*=")


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """A variant or baseline as typed: its name and its overrides; an argument is under `ARGUMENT`, without quotes.

    Raises:
        UserError: an empty name, an argument after an override or a second one, an option given twice, or quotes that
            do not close.
    """
    name, _, rest = text.strip().partition(":")
    if not name:
        raise UserError(f"'{text}' names no variant; write one such as full or full:steps=4")
    overrides: dict[str, str] = {}
    for token in _tokens(rest, text):
        key, value = _override(token)
        if key == ARGUMENT and overrides:
            raise UserError(f"override '{token}' of '{name}' is not key=value, as in full:steps=4,modulation=average")
        if key in overrides:
            raise UserError(f"'{key}' of '{name}' is given twice; give it once")
        overrides[key] = _unquoted(value)
    return name, overrides


def split_list(text: str) -> list[str]:
    """A comma-separated list of variants; after `name:`, tokens with `=` continue that variant.

    `full:modulation=average,steps=2,no_pos` is `full:modulation=average,steps=2` and `no_pos`.

    Raises:
        UserError: an empty list, an override without a variant before it, a variant named twice, or quotes that do
            not close.
    """
    found: list[str] = []
    for token in _tokens(text, text):
        if _override(token)[0] == ARGUMENT:
            found.append(token)
        elif not found or ":" not in found[-1]:
            raise UserError(f"override '{token}' follows no 'name:'; write name:{token}")
        else:
            found[-1] += f",{token}"
    if not found:
        raise UserError("the list of variants is empty; name at least one, such as full")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise UserError(f"variant '{twice[0]}' is listed twice; name each once")
    return found


def _override(token: str) -> tuple[str, str]:
    match = _KEY.match(token)
    return (match[1], token[match.end() :].strip()) if match else (ARGUMENT, token)


def _tokens(text: str, whole: str) -> Iterator[str]:
    """The parts between commas that are not in quotes, stripped, without empty ones."""
    part, quoted, escaped = "", False, False
    for letter in text:
        if letter == "," and not quoted:
            if part.strip():
                yield part.strip()
            part = ""
            continue
        if letter == '"' and not escaped:
            quoted = not quoted
        escaped = quoted and letter == "\\" and not escaped
        part += letter
    if quoted:
        raise UserError(f"the double quotes in '{whole}' do not close; put one after the argument")
    if part.strip():
        yield part.strip()


def _unquoted(value: str) -> str:
    """The value itself, of one that is in quotes as a whole."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return re.sub(r'\\(["\\])', r"\1", value[1:-1])
