"""A diffusers video transformer behind one small interface, and the definitions of the known bases.

Definitions are data (`patchvsr/bases/*.yaml`): the transformer's config, the codec it was trained with, the native
tile and chunk size, and the noise augmentation of the condition.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from patchvsr import wan
from patchvsr.attention import DecoupledCrossAttnProcessor, decouple
from patchvsr.errors import UserError, nearest
from patchvsr.nano import NanoTransformer3DModel
from patchvsr.offload import loaded
from patchvsr.wan import TextStates, TileFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseDefinition:
    """A base model as data.

    Attributes:
        kind: `wan` (a plain `WanTransformer3DModel`) or `nano`.
        config: keyword arguments of the transformer's class.
        codec: name of the codec whose latents it works on.
        tile: native tile size in output pixels, height and width alike.
        frames: native chunk length in frames.
        augmentation: lowest and highest noise level of the condition in training, and the one at inference.
        residual_std: where the flow runs on the difference to the upsampled frame's latents, that difference's
            standard deviation; None where it runs on the latents themselves.
        prompt: the fixed prompt's words.
        prompt_tokens: tokens that its text encoder makes of any prompt.
        adapter_blocks: transformer blocks of each of the adapter's branches, where a variant does not say.
        steps, shift: the sampler's defaults.
        shared_noise: share of the noise's variance that all frames of a clip have in common.
    """

    name: str
    kind: str
    config: dict[str, Any]
    codec: str
    tile: int
    frames: int
    augmentation: tuple[float, float, float]
    residual_std: float | None
    prompt: str
    prompt_tokens: int
    adapter_blocks: int
    steps: int
    shift: float
    shared_noise: float = 0.0


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Sizes that the adapter needs. `patch` is latent pixels per token, of which the stem takes `stem_stride`."""

    latent_channels: int
    dim: int
    heads: int
    ffn_dim: int
    layers: int
    text_dim: int
    patch: int
    stem_stride: int
    level_channels: tuple[int, ...]


def base_names() -> list[str]:
    """Names of the defined bases."""
    folder = resources.files("patchvsr") / "bases"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@cache
def define(name: str) -> BaseDefinition:
    """The definition of a base.

    Raises:
        UserError: no base of that name.
    """
    if name not in base_names():
        raise UserError(f"unknown base '{name}'{nearest(name, base_names())}")
    data = yaml.safe_load((resources.files("patchvsr") / "bases" / f"{name}.yaml").read_text())
    data["augmentation"] = tuple(data["augmentation"])
    return BaseDefinition(name=name, **data)


class Base(nn.Module):
    """A text-to-video rectified-flow transformer.

    Args:
        definition: what to build.
        model: its transformer, with any weights.
    """

    def __init__(self, definition: BaseDefinition, model: WanTransformer3DModel | NanoTransformer3DModel) -> None:
        super().__init__()
        self.definition = definition
        self.model = model
        # A processor that is there already keeps what the user set on it, such as the attention backend.
        decouple(b for b in self.dit.blocks if not isinstance(b.attn2.processor, DecoupledCrossAttnProcessor))

    @classmethod
    def build(cls, definition: BaseDefinition) -> Base:
        """A base with random weights, on torch's current default device."""
        kind = NanoTransformer3DModel if definition.kind == "nano" else WanTransformer3DModel
        return cls(definition, kind(**definition.config))

    @classmethod
    def from_diffusers(cls, definition: BaseDefinition, folder: Path, dtype: torch.dtype) -> Base:
        """The transformer of a diffusers folder (`folder/transformer` or `folder` itself), safetensors only.

        Raises:
            UserError: the folder holds no such model, or one of another config.
        """
        path = folder / "transformer" if (folder / "transformer").is_dir() else folder
        if not (path / "config.json").is_file():
            raise UserError(f"{folder} holds no diffusers transformer: expected {path / 'config.json'}")
        kind = NanoTransformer3DModel if definition.kind == "nano" else WanTransformer3DModel
        model = kind.from_pretrained(path, torch_dtype=dtype, use_safetensors=True)
        check_config(definition, model, str(path))
        return cls(definition, model)

    @property
    def dit(self) -> WanTransformer3DModel:
        """The Wan transformer: the model itself or the one inside nano's stem and head."""
        return self.model.dit if isinstance(self.model, NanoTransformer3DModel) else self.model

    @property
    def shape(self) -> BaseShape:
        """The sizes that an adapter is built for."""
        config = self.dit.config
        nano = isinstance(self.model, NanoTransformer3DModel)
        stem_stride = 2 if nano else 1
        return BaseShape(
            latent_channels=self.model.config.latent_channels if nano else config.in_channels,
            dim=config.num_attention_heads * config.attention_head_dim,
            heads=config.num_attention_heads,
            ffn_dim=config.ffn_dim,
            layers=config.num_layers,
            text_dim=config.text_dim,
            patch=config.patch_size[1] * stem_stride,
            stem_stride=stem_stride,
            level_channels=tuple(self.model.config.widths) if nano else (),
        )

    def velocity(
        self,
        latents: Tensor,
        t: Tensor,
        text: TextStates,
        features: TileFeatures,
        levels: tuple[Tensor, ...] = (),
        injections: tuple[Tensor, ...] = (),
        gates: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Velocity `[B, C, T, h, w]`, float32, of noisy latents at time t `[B]` in 0..1 (1 is pure noise)."""
        if isinstance(self.model, NanoTransformer3DModel):
            with loaded(self.dit):  # which is not called; the model itself is, and so runs its own hook
                return self.model(latents, t, text, features, levels, injections, gates)
        embedding = self.embed_time(t, features)
        with loaded(self.model):
            noisy = latents.to(self._dtype)
            return wan.forward(self.dit, noisy, embedding, text, features, injections, gates).float()

    def embed_time(self, t: Tensor, features: TileFeatures) -> Tensor:
        """The time embedding `[B, dim]` of t in 0..1 with the tiles' conditioning encodings."""
        with loaded(self.model):
            # Not a weight as the example of a dtype: an offloaded one is on another device than t.
            return wan.embed_time(self.dit, t, t.new_empty(0, dtype=self._dtype), features.condition)

    def encode_text(self, embeddings: Tensor) -> TextStates:
        """A prompt's embeddings `[B, L, text_dim]` as tokens and keys for every block."""
        with loaded(self.model):
            return wan.encode_text(self.dit, embeddings.to(self._dtype))

    @property
    def _dtype(self) -> torch.dtype:
        return self.dit.patch_embedding.weight.dtype


def check_config(definition: BaseDefinition, model: nn.Module, source: str) -> None:
    """Refuse a transformer of another config than the definition's.

    Raises:
        UserError: it is; the message names `source` and the settings that differ.
    """
    config: Any = model.config
    wrong = [key for key, value in definition.config.items() if _plain(config.get(key)) != _plain(value)]
    if wrong:
        raise UserError(f"{source} is not base '{definition.name}': {', '.join(wrong)} differ from its definition")


def cast(module: nn.Module, dtype: torch.dtype, keep: tuple[str, ...] = ()) -> nn.Module:
    """Move floating-point weights and buffers to `dtype` in place, except those that must stay float32.

    Which ones must is what diffusers' models say (`_keep_in_fp32_modules`): a Wan transformer's norms, time embedding
    and rotary tables. `Module.to(dtype)` would round them; `from_pretrained(torch_dtype=...)` leaves them alone too.

    Args:
        keep: names that the enclosing model keeps.
    """
    keep = tuple(getattr(module, "_keep_in_fp32_modules", None) or ()) or keep
    for name, child in module.named_children():
        cast(child, torch.float32 if name in keep else dtype, keep)
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.float32 if name in keep else dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            module._buffers[name] = buffer.to(torch.float32 if name in keep else dtype)
    return module


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
