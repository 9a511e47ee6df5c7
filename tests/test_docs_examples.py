"""The examples of the documentation do what the pages say, from a folder that is not the repository's."""
from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from patchvsr import plugins
from patchvsr.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "docs" / "extend").glob("*.md")), ROOT / "docs" / "ablations.md"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> tuple[dict[str, str], str]:
    """The page's files by their titles, and the shell commands that follow the first of them."""
    files: dict[str, str] = {}
    commands = ""
    for language, facts, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        title = re.search(r'title="([^"]+)"', facts)
        if title is not None:
            files[title[1]] = text
        elif language == "sh" and files:
            commands += text
    return files, commands


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`export NAME=VALUE`, or `python -m MODULE ...` in this process: a dozen imports of torch would take a minute."""
    words = shlex.split(line.replace("$PWD", str(Path.cwd())), comments=True)
    if words[0] == "export":
        monkeypatch.setenv(*words[1].split("=", 1))
        return
    assert words[:2] == ["python", "-m"], f"the page runs '{line}', which the test does not know"
    module = import_module(words[2])
    main = module.main if hasattr(module, "main") else import_module(f"{words[2]}.__main__").main
    assert main(words[3:]) in (0, None), line


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody else's, with nothing cached; what the files there register is forgotten afterwards."""
    from benchmarks.metrics import metrics
    from patchvsr.modulation import modulations
    from patchvsr.upscaler import upscalers

    registries: list[Registry] = [metrics, modulations, upscalers]
    for registry in registries:
        registry.names()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(plugins, "_loaded", set())
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_kind_has_a_page_with_a_file_and_commands() -> None:
    assert [page.stem for page in PAGES] == ["baseline", "component", "metric", "suite", "ablations"]
    for page in PAGES:
        files, commands = blocks(page)
        assert len(files) == 1 and "python -m" in commands, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_s_file_works_without_an_edit_elsewhere(
    page: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, commands = blocks(page)
    ((name, text),) = files.items()
    (elsewhere / name).write_text(text, encoding="utf-8")
    for line in commands.replace("\\\n", " ").splitlines():
        run_line(line, monkeypatch)
    made = sorted((elsewhere / "runs").rglob("records.csv"))
    assert made, f"{page.name} ends without a run"
    rows = [row for path in made for row in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert rows and all(row.endswith(",ok") for row in rows)
    # Its name is that of the suite, variant or metric in a record, or of a study's folder.
    told = re.split(r"[,=:/\n]", "\n".join([*rows, *(path.relative_to(elsewhere).as_posix() for path in made)]))
    assert Path(name).stem in told
    assert capsys.readouterr().out


def test_examples_are_short() -> None:
    assert len(EXAMPLES) == 3
    for path in EXAMPLES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path.name


def run_example(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def test_a_strategy_of_one_s_own_is_compared_and_its_run_read(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(ROOT / "examples" / "add_modulation.py")
    done = subprocess.run([sys.executable, script, "runs/triangle"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    run_example("read_run", "runs/triangle", monkeypatch=monkeypatch)
    shown = capsys.readouterr().out
    assert "golden on " in shown and "PSNR by clip" in shown and "without a value" not in shown
    assert "full:modulation=triangle,steps=1" in shown and "quadruple" in shown


def test_a_video_is_upscaled_with_the_pipeline(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = ROOT / "benchmarks" / "suites" / "golden" / "triple" / "lq"
    run_example("upscale", str(clip), "out", "--scale", "1.5", monkeypatch=monkeypatch)
    assert "3 frames of 192x144 in out" in capsys.readouterr().out
    assert sorted(os.listdir("out")) == ["000000.png", "000001.png", "000002.png"]
