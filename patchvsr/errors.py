"""The one exception that a command line turns into a sentence and exit code 2."""
from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend. Its text is one sentence: what is wrong, where, and what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`", did you mean 'x' or 'y'?"` for the known words closest to `word`, else the list of all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "; known: " + ", ".join(words) if words else "; none is registered"
