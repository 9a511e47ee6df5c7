"""What of the code an item's identity covers."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.source import code_of
from patchvsr import plugins
from patchvsr.upscaler import create


def test_a_changed_plug_in_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "mine.py"
    monkeypatch.setattr(plugins, "_loaded", set())
    codes = [code_of(create("bicubic", torch.device("cpu"), torch.float32))]
    for text in ("a = 1\n", "a = 2\n"):
        file.write_text(text)
        monkeypatch.setenv(plugins.VARIABLE, str(file))
        codes.append(code_of(create("bicubic", torch.device("cpu"), torch.float32)))
    assert len(set(codes)) == 3
