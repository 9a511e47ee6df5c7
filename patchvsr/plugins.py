"""Files of the user's own that add components, named by the environment variable `PATCHVSR_PLUGINS`.

Such a file imports a registry and registers what it defines, as the files of this package do:

    from benchmarks.metrics import metrics

    @metrics.register("mine")
    class Mine(Metric): ...
"""
from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from patchvsr.errors import UserError

VARIABLE = "PATCHVSR_PLUGINS"
_loaded: set[Path] = set()


def plugin_files() -> list[Path]:
    """The files that the environment variable names, separated as in PATH."""
    return [Path(text).expanduser().resolve() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]


def load_plugins() -> None:
    """Import each file once.

    Raises:
        UserError: a file is not there, or fails while it is imported.
    """
    for path in plugin_files():
        if path not in _loaded:
            _loaded.add(path)  # before it is imported: what it looks up comes here again
            try:
                _import(path)
            except BaseException:
                _loaded.discard(path)
                raise


def _import(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{VARIABLE} names '{path}', which is no file; mend the path or unset the variable")
    name = f"patchvsr_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{VARIABLE} names '{path}', which is no Python file; give one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise UserError(
            f"the plug-in '{path}' of {VARIABLE} cannot be loaded ({type(error).__name__}: {error}); mend the file or "
            "unset the variable"
        ) from error
