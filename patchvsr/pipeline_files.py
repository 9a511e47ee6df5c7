"""How the pipeline is saved, loaded and shared: safetensors only, nothing missing, with a model card of its own."""
from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.loaders import WanLoraLoaderMixin
from huggingface_hub import ModelCard
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import safe_open

from patchvsr.card import model_card
from patchvsr.codec import codecs
from patchvsr.errors import UserError, nearest
from patchvsr.upscaler import Weights
from patchvsr.variants import VariantSpec, resolve

PATHS = ("weights", "base_weights", "codec_weights")
"""Fields of a spec that name files of the machine it was made on."""

ONLY_SAFETENSORS = "pickled weights can run code when they are loaded, and are neither written nor read here"


def plain_spec(spec: VariantSpec) -> dict[str, Any]:
    """A spec as plain values for a pipeline's config, without paths."""
    return {key: value for key, value in spec.to_dict().items() if key not in PATHS}


def restore_spec(values: dict[str, Any]) -> VariantSpec:
    """The spec of `plain_spec`'s values. A field that an older version did not know has `full`'s value.

    Raises:
        UserError: a field that this version does not know.
    """
    known = {field.name for field in fields(VariantSpec)} - set(PATHS)
    unknown = sorted(values.keys() - known)
    if unknown:
        raise UserError(
            f"the pipeline's spec has an unknown field '{unknown[0]}'{nearest(unknown[0], known)} "
            "(saved by another version of patchvsr?)"
        )
    return VariantSpec(**(resolve("full").to_dict() | dict(values)))


class FilesMixin:
    """Saving, loading and sharing; to be put before `DiffusionPipeline` among a pipeline's bases."""

    config: Any
    components: dict[str, Any]
    dtype: torch.dtype
    download: Callable[..., str]
    load_config: Callable[..., dict[str, Any]]
    register_to_config: Callable[..., None]
    _upload_folder: Callable[..., Any]

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        *,
        licence: str | None = None,
        repo_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Save all components as safetensors, `model_index.json` and a model card (in place of one that is there).

        Args:
            save_directory: a folder, made if need be.
            variant: goes into the names of the weights' files.
            max_shard_size: larger weights are split.
            push_to_hub: upload the folder as well, see `push_to_hub`; `kwargs` go there.
            licence: of the weights, for the card.
            repo_id: the repository to push to, by default named as the folder.

        Raises:
            UserError: `safe_serialization=False`, or a LoRA that is loaded and not part of any component.
        """
        if not safe_serialization:
            raise UserError(f"safe_serialization=False is refused: {ONLY_SAFETENSORS}")
        self._refuse_loaded_lora()
        for part in (self, *self.components.values()):
            _forget_path(part)
        folder = Path(save_directory)
        parent: Any = super()
        parent.save_pretrained(folder, variant=variant, max_shard_size=max_shard_size)
        (folder / "README.md").write_text(self._card(repo_id or folder.resolve().name, licence), encoding="utf-8")
        if push_to_hub:
            self._push(folder, repo_id or folder.resolve().name, **kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        *,
        licence: str | None = None,
    ) -> Any:
        """Upload the pipeline to a hub's repository, which is made if need be.

        A card that is there already is kept, since somebody may have written on it.

        Returns:
            What `huggingface_hub.upload_folder` returns.

        Raises:
            UserError: as `save_pretrained`.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(
                folder, safe_serialization=safe_serialization, variant=variant, licence=licence, repo_id=repo_id
            )
            return self._push(Path(folder), repo_id, commit_message, private, token, create_pr)

    def _push(
        self,
        folder: Path,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
    ) -> Any:
        import huggingface_hub

        repo = huggingface_hub.create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        try:
            ModelCard.load(repo, token=token).save(folder / "README.md")
        except LocalEntryNotFoundError:
            raise  # the hub was not reached, so nothing is known of its card
        except (EntryNotFoundError, RepositoryNotFoundError):
            pass  # a new repository gets the card that lies in the folder
        return self._upload_folder(folder, repo, token=token, commit_message=commit_message, create_pr=create_pr)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """A saved pipeline, from a folder or a hub's repository; takes what `DiffusionPipeline.from_pretrained` takes.

        Raises:
            UserError: `use_safetensors=False`, a pipeline of another kind, or weights that lack something or hold
                something else; diffusers' own errors tell of files that are missing.
        """
        if kwargs.setdefault("use_safetensors", True) is False:
            raise UserError(f"use_safetensors=False is refused: {ONLY_SAFETENSORS}")
        kwargs["use_safetensors"] = True
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            wanted = ("cache_dir", "force_download", "proxies", "local_files_only", "token", "revision", "variant")
            options = {key: kwargs[key] for key in (*wanted, "use_safetensors") if key in kwargs}
            folder = Path(cls.download(str(pretrained_model_name_or_path), **options))
        config = cls.load_config(folder)
        kind = config.get("_class_name")
        if kind != cls.__name__ or not isinstance(config.get("spec"), dict):
            raise UserError(f"{pretrained_model_name_or_path} holds a {kind}, not a {cls.__name__}")
        spec = restore_spec(config["spec"])
        if spec.codec:
            codecs.get(spec.codec)  # diffusers loads components only of modules that are imported already
        parent: Any = super()
        pipeline = parent.from_pretrained(folder, **kwargs)
        for name, module in pipeline.components.items():
            if isinstance(module, torch.nn.Module) and name not in kwargs:
                _check_complete(module, folder / name)
        pipeline.register_to_config(_name_or_path=str(pretrained_model_name_or_path))
        return pipeline

    def _card(self, repo: str, licence: str | None) -> str:
        weights = Weights(self.config.weights_status, dict(self.config.weights_sha256))
        dtype = str(self.dtype).removeprefix("torch.")
        return model_card(dict(self.config.spec), weights, repo, dtype, licence)

    def _refuse_loaded_lora(self) -> None:
        for name, module in self.components.items():
            loaded = list(getattr(module, "peft_config", None) or ())
            if loaded:
                raise UserError(
                    f"'{name}' has LoRA '{loaded[0]}' loaded, which cannot be saved with it; call "
                    "unload_lora_weights() first, after fuse_lora() if it is to stay in effect"
                )


def _forget_path(part: Any) -> None:
    """diffusers saves where something was loaded from; a path of this machine is nobody else's business."""
    source = str(getattr(part, "config", {}).get("_name_or_path") or "")
    if Path(source).is_absolute():
        part.register_to_config(_name_or_path=Path(source).name)


def _check_complete(module: torch.nn.Module, folder: Path) -> None:
    """diffusers only warns about weights that are missing or left over; here they are an error."""
    if getattr(module, "is_quantized", False) or not folder.is_dir():
        return  # quantised weights go by other names
    found: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            found.update(weights.keys())
    missing, unexpected = sorted(module.state_dict().keys() - found), sorted(found - module.state_dict().keys())
    if missing or unexpected:
        what = f"lacks '{missing[0]}'" if missing else f"has an unexpected '{unexpected[0]}'"
        raise UserError(
            f"{folder} does not fit its config: it {what} ({len(missing)} keys missing, {len(unexpected)} unexpected); "
            "save the pipeline again, or fetch the folder again"
        )


class LoraMixin(WanLoraLoaderMixin):
    """diffusers' LoRA loader for the transformer, from safetensors only."""

    _lora_loadable_modules = ["transformer"]

    @classmethod
    def lora_state_dict(cls, pretrained_model_name_or_path_or_dict: Any, **kwargs: Any) -> Any:
        """The LoRA's tensors, in diffusers' naming.

        Raises:
            UserError: `use_safetensors=False`.
        """
        if kwargs.pop("use_safetensors", True) is False:
            raise UserError(f"use_safetensors=False is refused: {ONLY_SAFETENSORS}")
        return super().lora_state_dict(pretrained_model_name_or_path_or_dict, use_safetensors=True, **kwargs)

    @classmethod
    def save_lora_weights(cls, save_directory: Any, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """As diffusers'.

        Raises:
            UserError: `safe_serialization=False`.
        """
        if not safe_serialization:
            raise UserError(f"safe_serialization=False is refused: {ONLY_SAFETENSORS}")
        super().save_lora_weights(save_directory, *args, safe_serialization=True, **kwargs)

    @classmethod
    def _maybe_expand_t2v_lora_for_i2v(cls, transformer: torch.nn.Module, state_dict: dict[str, Any]) -> dict[str, Any]:
        # Only image-to-video models have the layers that diffusers adds here, and nano's config not even the setting.
        return state_dict
