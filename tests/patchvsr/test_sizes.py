"""From scales to sizes and back."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchvsr.errors import UserError
from patchvsr.sizes import parse_size, resolve_scale, scale_for, scaled

SIDES = st.integers(1, 2000)


@given(SIDES, SIDES, st.floats(1, 8))
def test_a_size_that_some_scale_makes_is_found_again(width, height, scale):
    target = scaled((width, height), scale)
    found = scale_for((width, height), target)
    # Halves are rounded to even numbers, so a scale exactly on a border may be the only one; it need not be met.
    if found is None:
        assert any(abs((side * scale) % 1 - 0.5) < 1e-6 for side in (width, height))
    else:
        assert scaled((width, height), found) == target


@pytest.mark.parametrize(
    ("source", "target", "scale"),
    [((960, 540), (3840, 2160), 4), ((1280, 720), (3840, 2160), 3), ((640, 480), (1000, 750), 1.5625)],
)
def test_the_simple_scale_is_taken(source, target, scale):
    assert scale_for(source, target) == scale


def test_a_size_within_rounding_is_met_exactly():
    scale = scale_for((853, 480), (2560, 1440))
    assert scale is not None and scaled((853, 480), scale) == (2560, 1440)


def test_another_shape_is_refused_with_the_size_that_keeps_it():
    with pytest.raises(UserError, match="another shape than the input's 640x480; 2880x2160"):
        resolve_scale((640, 480), None, (3840, 2160))
    with pytest.raises(UserError, match="; 2160x3840 keeps it"):
        resolve_scale((720, 1280), None, (3840, 2160))


@pytest.mark.parametrize("scale", [0.5, 0, -2, float("nan"), float("inf")])
def test_a_scale_below_one_is_refused(scale):
    with pytest.raises(UserError, match="at least 1"):
        resolve_scale((64, 48), scale, None)


def test_a_smaller_size_is_refused():
    with pytest.raises(UserError, match="smaller than the input's 64x48"):
        resolve_scale((64, 48), None, (32, 24))


def test_the_default_is_four():
    assert resolve_scale((64, 48), None, None) == 4


@pytest.mark.parametrize("text", ["3840", "3840*2160", "0x10", "x", "-4x4", "4x4x4", "4.5x4", ""])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserError, match="WIDTHxHEIGHT"):
        parse_size(text)


def test_sizes_are_read():
    assert parse_size("3840x2160") == parse_size(" 3840X2160 ") == (3840, 2160)
