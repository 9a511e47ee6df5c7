"""The parameters of a TorchScript archive, read as data: the program inside is neither compiled nor run.

OpenAI publishes CLIP in this format. The archive is a zip file with the raw tensors under `data/`, a pickle `data.pkl`
of the module tree, and each class's code, which lists by name the attributes that are parameters and buffers.
"""
from __future__ import annotations

import ast
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.weights.files import State

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}
_LISTED = re.compile(r"^  __(?:parameters|buffers)__ = (\[.*?\])$", re.MULTILINE)


def read_torchscript(path: Path) -> State:
    """What `torch.jit.load(path).state_dict()` holds, without loading the program.

    Raises:
        UserError: the file is no such archive, is damaged, or its pickle asks for more than tensors and modules.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
            prefix = root.removesuffix("data.pkl")
            with archive.open(root) as file:
                module = _Unpickler(file, archive, prefix).load()
            return dict(_tensors(module, "", archive, prefix))
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged archive can raise nearly anything
        reason = str(error) or type(error).__name__
        raise UserError(f"{path.name} is no TorchScript archive or is damaged ({reason}); not loaded") from error


class _Module:
    """Stands for any class of the archive; unpickling fills in its attributes."""

    qualified: str


class _Unpickler(pickle.Unpickler):
    """Knows tensors, lists of numbers and modules."""

    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(file)
        self.archive, self.prefix = archive, prefix

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return type("_Named", (_Module,), {"qualified": f"{module}.{name}"})
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":
            return lambda value, *_: value  # lists and type tags
        raise UserError(f"the archive asks for {module}.{name}, which weights have no need of; not loaded")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        data = bytearray(self.archive.read(f"{self.prefix}data/{key}"))
        return torch.frombuffer(data, dtype=dtype)[:count] if data else torch.empty(0, dtype=dtype)


def _rebuild(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A copy of one view, so that no two tensors share memory; torch refuses a view beyond the storage."""
    return storage.as_strided(size, stride, offset).clone().contiguous()


def _tensors(module: Any, path: str, archive: zipfile.ZipFile, prefix: str) -> list[tuple[str, Tensor]]:
    """Names and values of the parameters and buffers of a module and those within it."""
    namespace, _, name = type(module).qualified.rpartition(".")
    code = archive.read(f"{prefix}code/{namespace.replace('.', '/')}.py").decode()
    body = re.split(r"^class ", code.partition(f"class {name}(Module):\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lists = [ast.literal_eval(match[1]) for match in _LISTED.finditer(body)]
    # Archives older than the list of buffers do not tell these from other tensors.
    listed = set().union(*lists) if len(lists) == 2 else set(vars(module))
    found = []
    for key, value in vars(module).items():
        if isinstance(value, _Module):
            found += _tensors(value, f"{path}{key}.", archive, prefix)
        elif isinstance(value, Tensor) and key in listed:
            found.append((path + key, value))
    return found
