"""Options from a file: equal to flags, below flags, refused with a sentence, and written so that they can be read."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import run
from benchmarks.config import COMMANDS, apply, resolved
from patchvsr.errors import UserError
from patchvsr.notation import split_list, split_name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sweep.yaml"


def parsed(file: Path, text: str, *flags: str) -> dict[str, Any]:
    file.write_text(text)
    return configuration(apply(run.parser(), ["--config", str(file), *flags]))


def configuration(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name not in COMMANDS}


def flags(text: str) -> dict[str, Any]:
    return configuration(run.parser().parse_args(text.split()))


def test_a_file_equals_flags(file: Path) -> None:
    text = """
        suite: 4k
        variants: [full, bicubic]
        scale: 4
        out: runs/here
        frames: 2
        clips: [a, '011']
        metrics: [psnr, lpips]
        fetch: true
        data-root: data
        degradation: bd
        seed: -3
        device: cpu
        dtype: float32
    """
    expected = flags(
        "--suite 4k --variants full,bicubic --scale 4 --out runs/here --frames 2 --clips a,011 --metrics psnr,lpips "
        "--fetch --data-root data --degradation bd --seed -3 --device cpu --dtype float32"
    )
    found = parsed(file, text)
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {name: type(expected[name]) for name in found}


def test_lists_may_have_commas_and_keys_underscores(file: Path) -> None:
    text = "lq: in\ndata_root: data\nvariants: full:steps=2,tile=256,bicubic\nmetrics: psnr, ssim\nclips: a\n"
    expected = flags("--lq in --data-root data --variants full:steps=2,tile=256,bicubic --metrics psnr,ssim --clips a")
    assert parsed(file, text) == expected


def test_what_a_file_leaves_out_or_empty_is_the_default(file: Path) -> None:
    assert parsed(file, "") == parsed(file, "seed:\ndevice: null\nvariants:") == flags("")


def test_without_a_file_the_flags_are_all(file: Path) -> None:
    given = ["--suite", "4k", "--frames", "2"]
    assert apply(run.parser(), given) == run.parser().parse_args(given)


def test_a_mapping_is_the_product_of_its_lists(file: Path) -> None:
    text = """
        variants:
          - bicubic
          - {variant: full, steps: [2, 4], tile: 256, modulation: [joint, average]}
          - {variant: 'no_pos:steps=1', overlap: 0.5, dropped_at_inference: true}
          - variant: shifted
          - no_global,no_patch
    """
    assert split_list(parsed(file, text)["variants"]) == [
        "bicubic",
        "full:steps=2,tile=256,modulation=joint",
        "full:steps=2,tile=256,modulation=average",
        "full:steps=4,tile=256,modulation=joint",
        "full:steps=4,tile=256,modulation=average",
        "no_pos:steps=1,overlap=0.5,dropped_at_inference=true",
        "shifted",
        "no_global",
        "no_patch",
    ]


@pytest.mark.parametrize("value", ['a, "b"', "back\\slash, and", " edges ", 'mid"dle', "plain words", "", "x=y"])
def test_values_of_a_mapping_come_through_the_notation(file: Path, value: str) -> None:
    text = yaml.safe_dump({"variants": [{"variant": "full", "weights": value, "steps": 2}, "bicubic"]})
    first, second = split_list(parsed(file, text)["variants"])
    assert split_name(first) == ("full", {"weights": value, "steps": "2"}) and second == "bicubic"


def test_a_baseline_with_an_argument_takes_overrides_too(file: Path) -> None:
    text = """variants: [{variant: 'command:"run.py --in {input}, {output}"', timeout: [60, 90]}]"""
    assert split_list(parsed(file, text)["variants"]) == [
        f'command:"run.py --in {{input}}, {{output}}",timeout={seconds}' for seconds in (60, 90)
    ]


def test_flags_override_the_file(file: Path) -> None:
    text = "suite: 4k\nframes: 2\nmetrics: [psnr, ssim]\nclips: [a]\nvariants: full\n"
    found = parsed(file, text, "--frames", "5", "--metrics", "lpips", "--variants", "bicubic", "--fetch")
    assert found == flags("--suite 4k --frames 5 --metrics lpips --clips a --variants bicubic --fetch")


def test_a_flag_that_is_its_default_still_overrides_the_file(file: Path) -> None:
    assert parsed(file, "seed: 7\ndevice: cpu", "--seed", "0", "--device", "auto") == flags("")


def test_a_source_on_the_command_line_puts_the_other_aside(file: Path) -> None:
    assert parsed(file, "suite: 4k\nframes: 2", "--lq", "in") == flags("--lq in --frames 2")
    assert parsed(file, "lq: in\nframes: 2", "--suite", "4k") == flags("--suite 4k --frames 2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("varaints: full", "unknown key 'varaints'; did you mean 'variants'?"),
        ("data_rot: x", "did you mean 'data-root'?"),
        ("1: x", "unknown key '1'"),
        ("config: other.yaml", "'config' belongs on the command line"),
        ("print-config: true", "'print-config' belongs on the command line"),
        ("frames: two", "frames: must be a whole number, not str 'two'"),
        ("frames: 2.5", "frames: must be a whole number, not float 2.5"),
        ("frames: true", "frames: must be a whole number, not bool True"),
        ("frames: 0", "frames: 0 is not 1 or more"),
        ("scale: big", "scale: must be a number, not str 'big'"),
        ("scale: 0.5", "scale: 0.5 is not a factor of 1 or more"),
        ("fetch: 'yes'", "fetch: must be true or false, not str 'yes'"),
        ("suite: 4", "suite: must be text, not int 4; put it in quotes"),
        ("suite: [4k]", "suite: must be text, not list ['4k']"),
        ("out: 3", "out: must be a path, not int 3"),
        ("clips: 011", "clips: must be a list of names, or names with commas between, not int 9; put it in quotes"),
        ("clips: [a, 011]", "clips: must be a list of names, or names with commas between; put int 9 in quotes"),
        ("metrics: {psnr: 1}", "metrics: must be a list of names, or names with commas between, not dict"),
        ("variants: 3", "variants: must be text, or a list of texts and mappings with 'variant', not int 3"),
        ("variants: []", "variants: the list of variants is empty"),
        ("variants: [full, full]", "variants: variant 'full' is listed twice"),
        ("variants: [full, steps=2]", "variants: override 'steps=2' follows no 'name:'"),
        ("variants: [{steps: 2}]", "needs one name under 'variant'"),
        ("variants: [{variant: 'full,bicubic'}]", "needs one name under 'variant'"),
        ("variants: [{variant: full, steps: []}]", "'steps' of a mapping in 'variants' has an empty list"),
        ("variants: [{variant: full, steps:}]", "'steps' of a mapping in 'variants' must be text, a number"),
        ("variants: [{variant: full, on: 1}]", "the key True of a mapping in 'variants' is not text"),
        ("variants: [{variant: 'full:steps=2', steps: 4}]", "variants: 'steps' of 'full' is given twice"),
        ("suite: 4k\nlq: in", "'suite' and 'lq' exclude each other"),
        ("data-root: a\ndata_root: b", "'data-root' and 'data_root' are one option"),
        ("suite: 4k\nsuite: 2k", "'suite' is given twice"),
        ("variants: [{variant: full, steps: 2, steps: 4}]", "'steps' is given twice"),
        ("- suite", "must be a mapping of options to values"),
        ("suite: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_one_sentence(file: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parsed(file, text)
    assert message in str(raised.value) and str(raised.value).startswith(str(file))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="cannot be read .No such file"):
        apply(run.parser(), ["--config", str(file)])


def test_a_choice_that_there_is_not_is_refused(file: Path) -> None:
    file.write_text("how: lcal")
    made = run.parser()
    made.add_argument("--how", choices=["local", "remote"])
    with pytest.raises(UserError, match="how: unknown value 'lcal'; did you mean 'local'?"):
        apply(made, ["--config", str(file)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--suite 4k --variants full:steps=2,tile=256,bicubic --frames 2 --metrics psnr,ssim --fetch --seed 3",
        "--lq 7 --gt 08 --scale 2.5 --clips 011,1e3,yes,null --out runs/a --dtype float16 --variants full",
    ],
)
def test_the_resolved_configuration_fed_back_gives_the_same_options(file: Path, text: str) -> None:
    options = run.parser().parse_args(text.split())
    again = parsed(file, resolved(options))
    assert again == configuration(options)
    assert resolved(apply(run.parser(), ["--config", str(file)])) == resolved(options)


def test_the_resolved_configuration_keeps_quoted_variants(file: Path) -> None:
    variants = r'command:"a \"b, c\" --in {input} --out {output}",timeout=600,full:weights="x, y"'
    options = run.parser().parse_args(["--lq", "in", "--variants", variants])
    shown = yaml.safe_load(resolved(options))
    assert shown["variants"] == split_list(variants)
    assert parsed(file, resolved(options))["variants"] == variants


def test_the_resolved_configuration_has_every_option_and_no_command(file: Path) -> None:
    shown = yaml.safe_load(resolved(run.parser().parse_args(["--suite", "4k", "--print-config"])))
    assert {"suite", "lq", "data-root", "seed", "device", "fetch"} <= shown.keys()
    assert shown["seed"] == 0 and shown["scale"] is None
    assert not shown.keys() & {"config", "print-config", "list", "help"}
