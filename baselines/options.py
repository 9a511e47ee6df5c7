"""What was typed after a baseline's name, read and checked: `realesrgan:weights=x4plus,tile=256`."""
from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from patchvsr.devices import DTYPES, dtype_name
from patchvsr.errors import UserError, nearest
from patchvsr.notation import ARGUMENT


class Options:
    """The overrides of one baseline.

    Args:
        name: of the baseline, for messages.
        given: as a factory gets them.
        known: the options that it has, in the order in which they are told. A bare argument (`folder:PATH`) is known
            as `patchvsr.notation.ARGUMENT`.

    Raises:
        UserError: an option was given that is not known.
    """

    def __init__(self, name: str, given: dict[str, str], known: Iterable[str] = ()) -> None:
        self.name, self.given = name, given
        known = list(known)
        names = [option for option in known if option != ARGUMENT]
        for option, value in given.items():
            if option in known:
                continue
            if not names:
                written = f"{option}={value}" if option else value
                raise UserError(f"baseline '{name}' has no options, so '{written}' cannot be set; write only '{name}'")
            if option == ARGUMENT:
                raise UserError(f"'{value}' of baseline '{name}' is not key=value, as in {name}:{names[0]}=...; its "
                                f"options are {', '.join(names)}")  # fmt: skip
            raise UserError(f"baseline '{name}' has no option '{option}'{nearest(option, names)}; it has "
                            f"{', '.join(names)}")  # fmt: skip

    def text(self, option: str, default: str = "") -> str:
        """As typed."""
        return self.given.get(option, default)

    def choice(self, option: str, choices: Iterable[str], default: str) -> str:
        """One of several words.

        Raises:
            UserError: another one was given.
        """
        value, choices = self.text(option, default), list(choices)
        if value not in choices and value != default:
            raise UserError(f"{option}={value} of baseline '{self.name}' is unknown{nearest(value, choices)}; use "
                            f"{' or '.join(choices)}")  # fmt: skip
        return value

    def whole(self, option: str, default: int, least: int = 0, unit: str = "") -> int:
        """A whole number of at least `least`; `unit` is its word for messages, such as `frames`.

        Raises:
            UserError: it is none.
        """
        text = self.text(option, str(default))
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            of = f" of {unit}" if unit else ""
            raise UserError(f"{option}={text} of baseline '{self.name}' is no number{of}; give a whole number of at "
                            f"least {least}")  # fmt: skip
        return int(text)

    def number(self, option: str, default: float, above: float = 0.0) -> float:
        """A finite number above `above`.

        Raises:
            UserError: it is none.
        """
        text = self.text(option, str(default))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not above < value < math.inf:
            raise UserError(f"{option}={text} of baseline '{self.name}' is no number above {above:g}")
        return value

    def precision(self, default: torch.dtype) -> torch.dtype:
        """The option `precision`, by torch's names.

        Raises:
            UserError: an unknown one.
        """
        return DTYPES[self.choice("precision", DTYPES, dtype_name(default))]
