"""What is to be counted or measured: every variant at every size and length."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from patchvsr.errors import UserError
from patchvsr.notation import ARGUMENT, split_list, split_name
from patchvsr.sizes import Size, parse_size
from patchvsr.variants import VariantSpec, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the work.

    Attributes:
        variant: as typed.
        text: the same, with the base that was asked for.
        spec: resolved, on the base that was asked for.
        frame: width and height of the output.
        frames: of the clip.
    """

    variant: str
    text: str
    spec: VariantSpec
    frame: Size
    frames: int

    @property
    def size(self) -> str:
        """`3840x2160`."""
        return f"{self.frame[0]}x{self.frame[1]}"


def cases(variants: str, base: str | None, frame: str, frames: str) -> list[Case]:
    """Every variant at every size and length.

    Args:
        variants: a list in the notation of `benchmarks.run`.
        base: for the variants that name none; None for their default.
        frame: sizes, separated by commas.
        frames: lengths, separated by commas.

    Raises:
        UserError: a name, size or length that does not exist.
    """
    sizes = [parse_size(text) for text in frame.split(",")]
    lengths = [_length(text) for text in frames.split(",")]
    specs = [(text, _on(base, text)) for text in split_list(variants)]
    resolved = [(text, full, resolve(full)) for text, full in specs]
    return list(_cases(resolved, sizes, lengths))


def _cases(specs: list[tuple[str, str, VariantSpec]], sizes: list[Size], lengths: list[int]) -> Iterator[Case]:
    for size in sizes:
        for length in lengths:
            for variant, text, spec in specs:
                yield Case(variant=variant, text=text, spec=spec, frame=size, frames=length)


def _on(base: str | None, text: str) -> str:
    name, overrides = split_name(text)
    if base is None or "base" in overrides or ARGUMENT in overrides:
        return text
    return f"{text}{',' if overrides else ':'}base={base}"


def _length(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise UserError(f"'{text}' is not a number of frames; give --frames 17, or several as in --frames 17,81")
    return int(text)
