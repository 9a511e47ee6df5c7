"""What all tests share: no network for model hubs, and no time limits on single examples of a property."""
from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Outputs of tests are not for other runs to find.
os.environ["PATCHVSR_OUTPUT_CACHE_GB"] = "0"

# A shared machine makes single examples slow; pytest-timeout guards against a test that hangs.
settings.register_profile("patchvsr", deadline=None)
settings.load_profile("patchvsr")
