"""The walls of the house: imports flow one way, and what is heavy is imported only where it is needed."""
from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["reports", "ablations", "benchmarks", "baselines", "patchvsr"]  # each may import what is to its right
BENCHMARK_ONLY = {"pandas", "pyiqa", "lpips", "skvideo", "torchvision", "mlflow", "matplotlib", "ray", "cv2"}
SLOW = BENCHMARK_ONLY | {"av", "torch", "diffusers", "transformers", "peft", "accelerate"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Full names of imported modules, with relative imports resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(ROOT).parent.parts
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join([*above, *([node.module] if node.module else [])])


@pytest.mark.parametrize("package", ORDER)
def test_imports_flow_one_way(package: str) -> None:
    forbidden = set(ORDER[: ORDER.index(package)])
    files = modules(package)
    assert files, f"{package} has no modules"
    for path in files:
        wrong = {name for name in imported(path) if name.partition(".")[0] in forbidden}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_no_package_imports_tests() -> None:
    for package in ORDER:
        for path in modules(package):
            assert not {name for name in imported(path) if name.partition(".")[0] == "tests"}, path


def test_the_method_imports_nothing_that_only_a_benchmark_needs() -> None:
    for path in modules("patchvsr"):
        # Training may import what it needs inside functions; nothing may when it is imported.
        wrong = BENCHMARK_ONLY & {name.partition(".")[0] for name in imported(path, top_level_only=True)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_only_the_video_package_imports_av() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for package in ORDER
        for path in modules(package)
        if "av" in {name.partition(".")[0] for name in imported(path)}
    }
    assert users and {Path(user).parent.as_posix() for user in users} == {"patchvsr/video"}


def loaded_by(*names: str) -> set[str]:
    """Top-level modules that are loaded after importing `names` in a fresh interpreter."""
    code = f"import sys, {', '.join(names)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["patchvsr", "patchvsr.cli", "patchvsr.registry", "benchmarks.run"])
def test_importing_a_command_loads_nothing_slow(module: str) -> None:
    assert not loaded_by(module) & SLOW


def test_the_shared_interface_loads_nothing_that_only_a_benchmark_needs() -> None:
    assert not loaded_by("patchvsr.upscaler", "patchvsr.variants", "patchvsr.degradation") & (BENCHMARK_ONLY | {"av"})
