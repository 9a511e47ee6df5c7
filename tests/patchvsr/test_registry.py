from __future__ import annotations

import pytest

from patchvsr.errors import UserError
from patchvsr.registry import Registry


def test_an_unknown_name_answers_with_the_nearest_ones():
    registry: Registry[str] = Registry("colour")
    registry.register("crimson")("c")
    with pytest.raises(UserError, match="unknown colour 'crimsom'; did you mean 'crimson'"):
        registry.get("crimsom")


def test_lazy_targets_are_imported_when_asked_for_and_not_when_listed():
    registry: Registry[object] = Registry("thing", {"absent": "no.such.module:x", "path": "pathlib:Path"})
    assert registry.names() == ["absent", "path"]
    assert registry.get("path").__name__ == "Path"
    with pytest.raises(UserError, match="cannot be loaded"):
        registry.get("absent")


def test_a_name_is_registered_once():
    registry: Registry[object] = Registry("thing")
    registry.register("a")(object())
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("a")(object())
