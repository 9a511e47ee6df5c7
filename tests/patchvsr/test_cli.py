from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from patchvsr.cli import main
from patchvsr.variants import variant_names


def test_variants_lists_each_with_one_line(capsys):
    assert main(["variants"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == variant_names()
    assert all(len(line.split()) > 3 for line in lines)


def test_a_variant_is_printed_resolved(capsys):
    assert main(["variants", "full:steps=3"]) == 0
    spec = yaml.safe_load(capsys.readouterr().out)
    assert spec["steps"] == 3 and spec["modulation"] == "joint" and len(spec["sha256"]) == 64


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["variants", "no_globl"], "unknown variant 'no_globl'; did you mean 'no_global'"),
        (["weights", "fetch", "lpips-alx"], "lpips-alex"),
        (["weights", "fetch"], "needs names"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(argv, sentence, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert sentence in error and len(error.strip().splitlines()) == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom patchvsr.cli import parser\nparser().format_help()\n"
        "print([m for m in ('torch', 'numpy', 'diffusers', 'peft') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
