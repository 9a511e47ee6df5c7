"""A nested configuration as MLflow's flat parameters, within its limits."""
from __future__ import annotations

import hashlib
import json
import re
from typing import Any

LONGEST = 6000
"""Characters of a value that MLflow keeps."""
KEY_LENGTH = 250
"""And of a key."""


def key_of(text: str, allowed: str = "") -> str:
    """A key that MLflow accepts: letters, digits and `_-. `, and `allowed`; others become `_`.

    One that is too long ends in a piece of its hash.
    """
    plain = re.sub(rf"[^\w\-. {re.escape(allowed)}]", "_", text)
    if len(plain) <= KEY_LENGTH:
        return plain
    return f"{plain[: KEY_LENGTH - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def text_of(text: str, longest: int) -> str:
    """The text, cut where it is longer than that many characters."""
    return text if len(text) <= longest else text[: longest - 4] + " ..."


def flatten(nested: dict[str, Any]) -> dict[str, str]:
    """Every leaf by its path, joined with dots; lists of plain values are one leaf. Strings stay, the rest is JSON."""
    flat: dict[str, str] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                add(f"{path}.{name}" if path else str(name), inner)
        elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            for index, inner in enumerate(value):
                add(f"{path}.{index}", inner)
        else:
            key = key_of(path)
            while key in flat:  # two names that differ only in what MLflow does not allow
                key += "_"
            flat[key] = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)

    add("", nested)
    return flat
