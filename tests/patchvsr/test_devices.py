"""Devices and dtypes as typed."""
from __future__ import annotations

import pytest
import torch

from patchvsr.devices import device_of, dtype_name, dtype_of, multiplies_bfloat16
from patchvsr.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({}, torch.float32), ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
     ({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16)],
)  # fmt: skip
def test_auto_is_what_the_hardware_multiplies(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    multiplies_bfloat16.cache_clear()
    assert dtype_of("auto", CPU) == dtype
    assert dtype_of("bfloat16", CPU) == torch.bfloat16
    multiplies_bfloat16.cache_clear()


def test_this_machine_s_capabilities_are_known() -> None:
    assert dtype_of("auto", device_of("cpu")) in (torch.float32, torch.bfloat16)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'float16' or 'bfloat16'|did you mean 'bfloat16'"):
        dtype_of("bfloat", CPU)
    with pytest.raises(UserError, match="unknown device 'abacus'"):
        device_of("abacus")


def test_names() -> None:
    assert dtype_name(torch.bfloat16) == "bfloat16"
