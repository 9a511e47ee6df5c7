"""Random numbers that belong to a clip: by its name and the purpose they serve, never by the order of the calls."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Chances = tuple[tuple[T, float], ...]
"""Options and their probabilities, which sum to 1."""


@dataclass(frozen=True, slots=True)
class Varying:
    """A number drawn once per clip, that then walks from frame to frame.

    Attributes:
        low, high: its range; the first value is uniform in it.
        step: the most by which it changes to the next frame (uniform, either way; kept in the range).
    """

    low: float
    high: float
    step: float = 0.0


class Draws:
    """Generators for one clip.

    Args:
        key: what they depend on, as text: seed, clip, purpose.
    """

    def __init__(self, *key: object) -> None:
        self._key = tuple(map(str, key))

    def within(self, *purpose: object) -> Draws:
        """The same for a narrower purpose."""
        return Draws(*self._key, *purpose)

    def generator(self, *purpose: object) -> np.random.Generator:
        """A generator of its own for one purpose."""
        digest = hashlib.sha256("\0".join((*self._key, *map(str, purpose))).encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))

    def happens(self, purpose: str, probability: float) -> bool:
        """True with a probability."""
        return bool(self.generator(purpose).random() < probability)

    def choice(self, purpose: str, chances: Chances[T]) -> T:
        """One of the options, each with its probability."""
        index = self.generator(purpose).choice(len(chances), p=[probability for _, probability in chances])
        return chances[int(index)][0]

    def walk(self, purpose: str, of: Varying, start: float | None = None) -> Iterator[float]:
        """One value per frame, for ever; the first is drawn from the range unless given."""
        rng = self.generator(purpose)
        value = rng.uniform(of.low, of.high) if start is None else start
        while True:
            yield float(value)
            value = np.clip(value + rng.uniform(-of.step, of.step), of.low, of.high)
