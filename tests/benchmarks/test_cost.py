"""FLOPs of variants: against closed forms, against METHOD's figures, and against the sampler itself at work."""
from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cost import count_variant
from benchmarks.cost.__main__ import main
from benchmarks.cost.request import cases
from benchmarks.cost.slopes import fit, slopes
from benchmarks.cost.table import COLUMNS
from patchvsr.errors import UserError
from patchvsr.method import PatchVSR
from patchvsr.upscaler import Clip
from patchvsr.variants import resolve

N, D, FFN, TEXT, CONTEXT = 5 * 32 * 32, 1536, 8960, 512, 5 * 16 * 16  # one 512x512x17 tile of Wan 1.3B
WAN = "base=wan2.1-1.3b,steps=1"


def block(tokens: int) -> int:
    """FLOPs of a Wan block on text keys that are there already."""
    attention = 8 * tokens * D * D + 4 * tokens * tokens * D
    cross = 4 * tokens * D * D + 4 * tokens * TEXT * D
    return attention + cross + 4 * tokens * D * FFN


def text_keys(blocks: int) -> int:
    return blocks * 4 * TEXT * D * D


def embeddings(tokens: int) -> int:
    """Patch embedding, output projection, and the time embedding with its projection to six modulations."""
    return 2 * tokens * 64 * D * 2 + 2 * (256 * D + D * D + 6 * D * D)


def wan(tokens: int) -> int:
    return 30 * block(tokens) + embeddings(tokens)


def test_the_transformer_costs_what_its_closed_form_says() -> None:
    cost = count_variant(resolve(f"no_modulation:{WAN}"), 512, 512, 17)
    assert cost.flops["dit"] == wan(N)
    assert cost.flops["text"] == text_keys(30) + 2 * TEXT * (4096 * D + D * D)
    assert cost.tiles["dit"] == 1


def test_the_adapter_costs_what_its_closed_form_says() -> None:
    cost = count_variant(resolve(f"no_modulation:{WAN}"), 512, 512, 17)
    small = 2 * 6 * D * D  # a branch's modulation, from a vector
    patch = 2 * block(N) + text_keys(2) + 2 * N * 64 * D + small
    assert cost.flops["patch_branch"] == pytest.approx(patch, rel=1e-4)  # but for its conditioning's tiny layers
    assert cost.flops["injection"] == pytest.approx(30 * 2 * N * D * D, rel=1e-4)
    context = 2 * block(CONTEXT) + text_keys(2) + 2 * CONTEXT * (17 * 16) * D + small
    assert cost.flops["context_branch"] == pytest.approx(context, rel=1e-4)
    assert cost.flops["context_keys"] == 30 * 4 * CONTEXT * D * D
    assert cost.flops["context_attention"] == 30 * 4 * N * CONTEXT * D


def test_the_figures_of_the_method_come_out() -> None:
    tile = count_variant(resolve(f"no_modulation:{WAN}"), 512, 512, 17)
    assert (tile.flops["dit"] + tile.flops["text"]) / 1e12 == pytest.approx(18.28, abs=0.01)
    whole = count_variant(resolve(f"full_attention:{WAN}"), 3840, 2160, 17)
    assert whole.flops["dit"] / 1e12 == pytest.approx(5258, rel=1e-3)
    for name in ("full", "average"):
        assert count_variant(resolve(f"{name}:{WAN}"), 3840, 2160, 17).tiles["dit"] == 135
    codec = tile.flops["codec_encode"] / 2, tile.flops["codec_decode"]  # the tile and the whole view
    assert [flops / 1e12 for flops in codec] == pytest.approx([22.9, 38.4], abs=0.05)


def test_tiling_beats_attention_over_the_whole_frame_by_what_is_claimed() -> None:
    for frames, full_attention in ((17, 6.0), (81, 12.0)):
        both = {}
        for name in ("shifted", "full", "full_attention"):
            cost = count_variant(resolve(f"{name}:base=wan2.1-1.3b"), 3840, 2160, frames)
            both[name] = cost.group("dit") + cost.group("adapter")
        assert both["full_attention"] / both["shifted"] >= full_attention
        assert both["full"] / both["shifted"] >= 2.5


@pytest.mark.parametrize(
    "text",
    [
        "full:tile=64", "full:tile=64,cache=off", "shifted:tile=64", "full:tile=64,position=box", "no_patch:tile=64",
        "no_pos:tile=64", "no_global:tile=64", "average:tile=64,context=neighbourhood,position=crop", "full_attention",
    ],
)  # fmt: skip
def test_the_count_is_what_the_sampler_does(text: str) -> None:
    frames, height, width = 2, 40, 30
    upscaler = PatchVSR.load(resolve(text + (":" if ":" not in text else ",") + "steps=3"), torch.device("cpu"),
                             torch.float32)  # fmt: skip
    clip = Clip("c", torch.rand(frames, 3, height, width))
    # The fused CPU attention has no formula; torch's plain one is matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        list(upscaler.upscale(clip, 4))
    cost = count_variant(upscaler.spec, 4 * width, 4 * height, frames)
    assert cost.total == counter.get_total_flops()


def test_a_cache_saves_what_comes_again_and_no_more() -> None:
    spec = "shifted:base=wan2.1-1.3b,steps=4,cache_mib=100000"
    shifted = {
        mode: count_variant(resolve(f"{spec},cache={mode}"), 3840, 2160, 17) for mode in ("off", "on", "auto")
    }
    # Four tiles, the frame's corners, are in both grids.
    assert shifted["off"].tiles["patch_branch"] == 160
    assert shifted["on"].tiles["patch_branch"] == shifted["auto"].tiles["patch_branch"] == 76
    short = count_variant(resolve("full:base=wan2.1-1.3b,steps=4,cache_mib=500"), 3840, 2160, 17)
    assert short.tiles["patch_branch"] > 135 and short.peak_cache <= 500 << 20
    assert short.tiles["codec_encode"] < 140  # the codec's results save most per byte; two tiles are to learn from


def test_a_frame_smaller_than_a_tile_and_odd_lengths_are_counted_as_they_run() -> None:
    small = count_variant(resolve(f"full:{WAN}"), 100, 60, 3)
    padded = count_variant(resolve(f"full:{WAN}"), 112, 64, 5)
    assert small.tiles["dit"] == 1
    assert {part: small.group(part) for part in ("dit", "adapter", "codec")} == {
        part: padded.group(part) for part in ("dit", "adapter", "codec")
    }
    with pytest.raises(UserError, match="no diffusion"):
        count_variant(resolve("no_diffusion"), 100, 60, 3)
    with pytest.raises(UserError, match="0x60"):
        count_variant(resolve("full"), 0, 60, 3)


def test_slopes_are_those_of_powers() -> None:
    assert fit([(1, 2), (10, 200)]) == (pytest.approx(2.0), None)
    slope, error = fit([(1, 3), (10, 30), (100, 300)])
    assert slope == pytest.approx(1) and error == pytest.approx(0, abs=1e-6)
    rows = [
        {"variant": "a", "frame": f"{side}x{side}", "frames": frames, "tflop": side * side * frames**2}
        for side in (1, 2, 4)
        for frames in (1, 3)
    ]
    found = slopes(rows, "tflop")
    assert Counter((one.against, round(one.slope, 6)) for one in found) == {("pixels", 1.0): 2, ("frames", 2.0): 3}


def test_the_base_goes_to_variants_that_name_none() -> None:
    found = cases("full:steps=2,shifted:base=nano,no_pos", "wan-tiny", "64x64,128x64", "5")
    assert [(case.spec.name, case.spec.base, case.size) for case in found[:3]] == [
        ("full", "wan-tiny", "64x64"), ("shifted", "nano", "64x64"), ("no_pos", "wan-tiny", "64x64"),
    ]  # fmt: skip
    assert found[0].variant == "full:steps=2" and len(found) == 6


def test_the_command_writes_the_columns_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--base", "nano", "--variants", "full,shifted", "--frame", "512x512,1024x1024", "--frames", "5"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    with open(tmp_path / "cost.csv") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    assert {row["variant"] for row in rows} == {"full", "shifted"} and all(float(row["tflop"]) >= 0 for row in rows)
    assert (tmp_path / "cost.png").stat().st_size > 1000 and (tmp_path / "slopes.csv").is_file()
    out = capsys.readouterr().out
    assert "DiT and adapter of shifted: full" in out and "not counted" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--variants", "ful"], "unknown variant 'ful'; did you mean 'full'"),
        (["--frame", "4k"], "size '4k' is not WIDTHxHEIGHT"),
        (["--frames", "many"], "'many' is not a number of frames"),
        (["--measure", "flop"], "unknown measure 'flop'; did you mean 'flops'"),
        (["--base", "wan"], "unknown base 'wan'"),
        (["--variants", "no_diffusion"], "no diffusion"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
