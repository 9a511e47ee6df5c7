"""Files of the user's own, through PATCHVSR_PLUGINS."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from patchvsr import plugins
from patchvsr.errors import UserError
from patchvsr.registry import Registry

FILE = """
import sys
sys.imported = getattr(sys, "imported", 0) + 1
from patchvsr.modulation import modulations

@modulations.register({name!r})
class Mine(modulations.get("average")):
    pass
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from patchvsr.modulation import modulations

    modulations.names()
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setattr(modulations, "_entries", dict(modulations._entries))
    monkeypatch.setattr(sys, "imported", 0, raising=False)


def test_a_file_adds_a_component_and_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from patchvsr.modulation import modulations

    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(FILE.format(name=name))
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(str(tmp_path / f"{name}.py") for name in ("one", "two")))
    assert {"one", "two"} <= set(modulations.names())
    assert modulations.get("two").__name__ == "Mine"
    assert sys.imported == 2


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, "is no file; mend the path or unset the variable"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError"),
        (FILE.format(name="joint"), "modulation 'joint' is registered twice"),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(tmp_path, monkeypatch, text, expected):
    import patchvsr.modulation  # noqa: F401, so that `joint` is there

    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    for _ in range(2):  # it is not forgotten that it failed
        with pytest.raises(UserError) as error:
            Registry("anything").names()
        assert expected in str(error.value)
        assert str(path) in str(error.value)
