"""`patchvsr weights`: what it prints, and its exit codes."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchvsr import weights
from patchvsr.cli import main


@pytest.mark.parametrize("words", [["weights"], ["weights", "list"]])
def test_list_shows_every_kind_with_state_licence_source_and_purpose(
    toy: weights.PyPI, hubtoy: weights.Hub, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    path = weights.fetch("toy")
    assert main(words) == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert lines.keys() - {"cache:"} == {status.name for status in weights.status()}
    nano = round(weights.path_of("nano").stat().st_size / 2**20)
    assert f"packaged, {nano} MiB packaged Apache-2.0 trained base" in lines["nano"]
    expected = f"in the cache, {path.stat().st_size / 2**10:.0f} KiB PyPI CC0 tests; from toy-weights 1.0 (PyPI), toy/"
    assert expected in lines["toy"]
    assert "absent hub CC0 tests; from toys/weights (hub), toy-checkpoint.pth" in lines["hubtoy"]
    assert str(weights.cache_dir()) in lines["cache:"]


def test_fetch_and_path_print_where_files_lie(toy: weights.PyPI, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "path", "toy"]) == 2
    assert "not here: toy; run `patchvsr weights fetch toy`" in capsys.readouterr().err
    assert main(["weights", "fetch", "toy"]) == 0
    assert capsys.readouterr().out == f"toy: {weights.path_of('toy')}\n"
    assert main(["weights", "path", "toy", "nano"]) == 0
    # A full name is one file, though `nano` is a family too.
    assert capsys.readouterr().out.split() == [str(weights.path_of("toy")), str(weights.path_of("nano"))]


def test_fetch_takes_families_and_goes_on_after_a_failure(
    toy: weights.PyPI, hubtoy: weights.Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(weights.KNOWN, "family-a", hubtoy)  # offline: cannot be fetched
    monkeypatch.setitem(weights.KNOWN, "family-b", toy)
    assert main(["weights", "fetch", "family", "family-b"]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"family-b: {weights.path_of('family-b')}\n"
    assert "patchvsr: weights 'family-a' are not in the cache" in shown.err


def test_fetch_from_a_file(
    toy: weights.PyPI, hubtoy: weights.Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "fetch", "hubtoy", "--from", str(checkpoint)]) == 0
    assert weights.load("hubtoy").keys() == {"a", "b"}
    assert main(["weights", "fetch", "toy", "--from", str(checkpoint)]) == 1
    assert "not used" in capsys.readouterr().err and not weights.present("toy")
    assert main(["weights", "fetch", "lpips", "--from", str(checkpoint)]) == 2
    assert "several weights: lpips-alex, lpips-vgg; name one" in capsys.readouterr().err
    # A full name is meant as such, though it is a family too.
    assert main(["weights", "fetch", "laion-aes", "--from", str(checkpoint)]) == 1
    assert "weights 'laion-aes' are made of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fetch"], "needs names"),
        (["fetch", "lpips-alx"], "lpips-alex"),
        (["fetch", "nano", "lpips-alx"], "lpips-alex"),
        (["verify", "lpips-alx"], "lpips-alex"),
        (["path", "lpips-alx"], "lpips-alex"),
    ],
)
def test_bad_names_are_refused_before_anything_is_done(
    cache: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["weights", *words]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.out == "" and not cache.exists()


def test_verify_tells_whole_damaged_and_absent_apart(
    toy: weights.PyPI, hubtoy: weights.Hub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.fetch("toy")
    weights.fetch("hubtoy", checkpoint)
    assert main(["weights", "verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"toy: whole", "hubtoy: whole", "nano: whole"} <= set(lines)
    assert all(line.endswith(": whole") for line in lines)
    path = weights.path_of("toy")
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert main(["weights", "verify"]) == 1
    shown = capsys.readouterr()
    assert "hubtoy: whole" in shown.out and f"toy: cached weights {path} are damaged" in shown.out
    assert shown.err.splitlines() == [
        "patchvsr: damaged: toy; delete the files named above and run `patchvsr weights fetch toy`"
    ]
    weights.path_of("hubtoy").unlink()
    assert main(["weights", "verify", "hubtoy", "nano"]) == 1
    shown = capsys.readouterr()
    assert "nano: whole" in shown.out
    assert shown.err.splitlines() == ["patchvsr: absent: hubtoy; run `patchvsr weights fetch hubtoy`"]


def test_without_a_network_the_whole_command_answers_within_seconds(cache: Path) -> None:
    unreachable = {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(cache / "hf"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    dropped = {"TRANSFORMERS_OFFLINE", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"}
    environment = {key: value for key, value in os.environ.items() if key not in dropped} | unreachable
    program = "import sys; from patchvsr.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "weights", "fetch", "musiq", "niqe"]
    start = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert time.monotonic() - start < 20
    assert done.returncode == 1 and "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("patchvsr: ")]
    assert "'musiq'" in sentences[0] and "--from FILE" in sentences[0]
    assert "'niqe'" in sentences[1] and "cannot be downloaded" in sentences[1] and len(sentences) == 2
