"""Pipelines of diffusers on this machine: found in a folder or in the hub's local cache, checked, and loaded.

Nothing is ever downloaded, and nothing but safetensors is read. diffusers itself only warns about weights that a file
lacks and fills them with noise; here they are refused.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from patchvsr.errors import UserError
from patchvsr.weights.files import sha256_file

INDEX = "model_index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Published:
    """Where a baseline's weights are published.

    Attributes:
        repository: `owner/name` on the Hugging Face hub.
        size: of the files that are needed, for people; empty where it is not known.
        options: of `hf download`, to leave out files that are not needed.
    """

    repository: str
    size: str = ""
    options: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a pipeline: its name there, the library and class that it is made of, and the folder it lies in."""

    name: str
    library: str
    kind: str
    folder: Path

    @property
    def is_model(self) -> bool:
        """Whether it has weights; schedulers and tokenizers have none, and no `config.json`."""
        return (self.folder / "config.json").is_file()

    def weight_files(self) -> list[Path]:
        """The safetensors that are loaded: one file, or the shards that an index lists.

        Raises:
            UserError: they are not there.
        """
        stem = "model" if self.library == "transformers" else "diffusion_pytorch_model"
        whole, index = self.folder / f"{stem}.safetensors", self.folder / f"{stem}.safetensors.index.json"
        files = [whole]
        if not whole.is_file() and index.is_file():
            files = [self.folder / shard for shard in sorted(set(_read_json(index).get("weight_map", {}).values()))]
        absent = [file.name for file in files if not file.is_file()]
        if not absent and files:
            return files
        pickles = sorted(file.name for file in self.folder.iterdir() if file.suffix in PICKLES)
        if pickles:
            raise UserError(
                f"{self.folder} has its weights as a pickle only ({pickles[0]}), which can run code when it is loaded "
                "and is not read here; fetch the safetensors, or save the pipeline with safe_serialization=True"
            )
        raise UserError(
            f"{self.folder} lacks the weights file {absent[0] if absent else whole.name}; fetch the rest of the "
            "pipeline (variants such as fp16 are not read)"
        )

    def files(self) -> list[Path]:
        """All files that are read: a model's config and weights; of other components, whatever lies in their folder."""
        if self.is_model:
            return [self.folder / "config.json", *self.weight_files()]
        return sorted(file for file in self.folder.iterdir() if file.is_file())


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline on its device, and what it was loaded from."""

    pipeline: Any
    folder: Path
    components: tuple[Component, ...]
    device: torch.device
    dtype: torch.dtype

    @property
    def kind(self) -> str:
        """diffusers' name of the pipeline's class."""
        return type(self.pipeline).__name__

    def sha256(self) -> dict[str, str]:
        """SHA-256 of every file that was read, by `component/file`. Each file is read once per process."""
        files = [(f"{part.name}/{file.name}", file) for part in self.components for file in part.files()]
        return {name: _sha256(file, file.stat().st_size, file.stat().st_mtime_ns) for name, file in files}


def load_pipeline(
    baseline: str,
    weights: str,
    published: Published,
    kinds: Sequence[str],
    device: torch.device,
    dtype: torch.dtype,
    left_out: Sequence[str] = (),
    elsewhere: Mapping[str, str] | None = None,
) -> Loaded:
    """A pipeline in diffusers' layout, for inference.

    Args:
        baseline: its name, for messages.
        weights: a folder, or `owner/name` that is in the hub's local cache; empty for the published one.
        published: which one that is.
        kinds: the names of the pipeline classes that will do.
        device: where it goes.
        dtype: of its models.
        left_out: optional components that stay out.
        elsewhere: components that a folder of their own may be given for, and those folders or `owner/name`; an empty
            one is not given.

    Raises:
        UserError: the weights are not on this machine, are of another pipeline, incomplete, damaged or pickled.
    """
    folder = _find_pipeline(baseline, weights, published)
    elsewhere = elsewhere or {}
    index = _read_index(baseline, folder, kinds)
    components = {
        name: Component(name, value[0], value[1], folder / name)
        for name, value in index.items()
        if isinstance(value, list) and value[:1] != [None] and name not in left_out
    }
    for part, text in elsewhere.items():
        if text:
            components[part] = _given(baseline, part, text, components.get(part))
    for component in components.values():
        if not component.folder.is_dir():
            alone = f", or give {component.name}=DIR or owner/name" if component.name in elsewhere else ""
            raise UserError(f"{folder} lacks its component '{component.name}'; fetch the rest of it{alone}")
        component.files()
    settings = {name: value for name, value in index.items() if name[0] != "_" and not isinstance(value, list)}
    pipeline = _assemble(index["_class_name"], tuple(components.values()), settings, dtype)
    return Loaded(pipeline.to(device), folder, tuple(components.values()), device, dtype)


def _assemble(kind: str, components: tuple[Component, ...], settings: dict[str, Any], dtype: torch.dtype) -> Any:
    # Not by the pipeline's own from_pretrained, which fills gaps with noise; optional components are None by default.
    import diffusers

    with _quiet():
        parts = {part.name: _load(part, dtype) for part in components}
    try:
        pipeline = getattr(diffusers, kind)(**parts, **settings)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"a {kind} cannot be made of what {INDEX} lists ({_line(error)}); fetch it again") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _find_pipeline(baseline: str, weights: str, published: Published) -> Path:
    folder = Path(weights).expanduser()
    if weights and folder.is_dir():
        return folder
    repository = weights or published.repository
    if not _REPOSITORY.fullmatch(repository):
        raise UserError(f"weights={weights} of baseline '{baseline}' is no folder; give one in diffusers' layout, or "
                        "owner/name as on the Hugging Face hub")  # fmt: skip
    if kept := _cached(repository, INDEX):
        return kept.parent
    known = published if repository == published.repository else Published(repository)
    size = f" ({known.size})" if known.size else ""
    raise UserError(
        f"the weights of baseline '{baseline}', {repository} on the Hugging Face hub{size}, are not on this machine; "
        f"run `hf download {repository}{known.options}`, or give weights=DIR with a folder in diffusers' layout"
    )


def _given(baseline: str, part: str, text: str, instead_of: Component | None) -> Component:
    """A component that was given by itself: its folder, a pipeline's, or a repository in the local cache."""
    folder = Path(text).expanduser()
    config = folder / part / "config.json" if (folder / part).is_dir() else folder / "config.json"
    if not folder.is_dir():
        kept = _cached(text, f"{part}/config.json") if _REPOSITORY.fullmatch(text) else None
        if kept is None:
            raise UserError(
                f"{part}={text} of baseline '{baseline}' is neither a folder nor in the Hugging Face hub's local "
                f"cache; give a folder, or run `hf download {text} --include '{part}/*'`"
            )
        config = kept
    kind = str(_read_json(config).get("_class_name"))
    if instead_of is not None and instead_of.kind != kind:
        raise UserError(f"{part}={text} of baseline '{baseline}' is a {kind}, and the pipeline takes a "
                        f"{instead_of.kind}; give one of those")  # fmt: skip
    return Component(part, "diffusers", kind, config.parent)


def _cached(repository: str, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    kept = try_to_load_from_cache(repository, file)
    return Path(kept) if isinstance(kept, str) else None


def _read_index(baseline: str, folder: Path, kinds: Sequence[str]) -> dict[str, Any]:
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder} is no pipeline in diffusers' layout, since it has no {INDEX}; give a folder that "
                        "save_pretrained wrote")  # fmt: skip
    index = _read_json(folder / INDEX)
    if index.get("_class_name") not in kinds:
        raise UserError(f"{folder} holds a {index.get('_class_name')}, and baseline '{baseline}' runs a "
                        f"{' or '.join(kinds)}; give another folder")  # fmt: skip
    return index


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({_line(error)}); fetch it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} is no JSON object; fetch it again")
    return data


def _load(component: Component, dtype: torch.dtype) -> Any:
    """One component; of a model, nothing may be missing from its file."""
    from safetensors import SafetensorError

    library = component.library
    module = library if library in ("diffusers", "transformers") else f"diffusers.pipelines.{library}"
    try:
        kind = getattr(import_module(module), component.kind)
    except (ImportError, AttributeError) as error:
        raise UserError(f"component {component.folder} is a {component.kind} of {library}, which diffusers here does "
                        "not have; give another pipeline") from error  # fmt: skip
    options: dict[str, Any] = {"local_files_only": True}
    if component.is_model:
        options |= {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    try:
        loaded = kind.from_pretrained(component.folder, **options)
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise UserError(f"component {component.folder} cannot be loaded ({_line(error)}); fetch it again") from error
    if not component.is_model:
        return loaded
    model, told = loaded
    if missing := sorted(told["missing_keys"]):
        raise UserError(f"the weights in {component.folder} do not fit its config: they lack '{missing[0]}' "
                        f"({len(missing)} keys missing); fetch it again")  # fmt: skip
    return model


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@cache
def _sha256(path: Path, size: int, modified: int) -> str:
    """Size and time of the last change are there so that a changed file is hashed anew."""
    return sha256_file(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars while components are loaded."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    shown = [bars for bars in (of_diffusers, of_transformers) if bars.is_progress_bar_enabled()]
    for bars in shown:
        bars.disable_progress_bar()
    try:
        yield
    finally:
        for bars in shown:
            bars.enable_progress_bar()
