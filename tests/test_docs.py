"""Documentation that cannot rot unseen: docstrings on public names, links that lead somewhere, a site that builds."""
from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["patchvsr", "baselines", "benchmarks", "ablations", "reports"]


def undocumented(path: Path) -> Iterator[str]:
    """The module, its public classes and its public functions that have no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if ast.get_docstring(tree) is None:
        yield "the module"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield node.name


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring(package: str) -> None:
    missing = {
        path.relative_to(ROOT).as_posix(): names
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.name.startswith("test_") and (names := list(undocumented(path)))
    }
    assert not missing


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_relative_links_lead_to_files() -> None:
    assert ROOT / "README.md" in documents()
    for document in documents():
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_reference_names_modules_that_exist() -> None:
    named = [name for page in (ROOT / "docs" / "api").glob("*.md")
             for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)]  # fmt: skip
    assert len(named) == len(set(named)), "a module is on two pages"
    assert {name.partition(".")[0] for name in named} == set(PACKAGES)
    for name in named:
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), f"there is no module {name}"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the site needs the extra `docs`")
def test_the_site_builds_without_a_warning_and_asks_nothing_of_other_hosts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""<(?:script|img|iframe|link)\b[^>]*(?:src|href)=["']?(?:https?:)?//""", text), page
        assert "](" not in re.sub(r"<(code|script|pre)\b.*?</\1>", "", text, flags=re.DOTALL), f"{page}: a link is text"
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?https?:|@import", sheet.read_text(encoding="utf-8")), sheet
    assert (tmp_path / "site" / "repository" / "examples" / "upscale.py").is_file()
