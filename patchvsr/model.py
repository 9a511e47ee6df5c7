"""Base, adapter and LoRA as one model, with saving and loading of what was trained."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from patchvsr.adapter import Adapter, AdapterConfig, Maps
from patchvsr.base import Base
from patchvsr.clock import Clock
from patchvsr.errors import UserError
from patchvsr.wan import TextStates, TileFeatures

LORA_LINEAR = r"(to_q|to_k|to_v|to_out\.0|net\.0\.proj|net\.2|modulation)"
LORA_CONV = r"(conv_in|conv_1|conv_2|up|down|conv_out)"


class PatchVSRModel(nn.Module):
    """A base with its adapter.

    Args:
        base: the video transformer.
        adapter: made for a base of that shape.
    """

    def __init__(self, base: Base, adapter: Adapter) -> None:
        super().__init__()
        self.base, self.adapter = base, adapter

    @classmethod
    def fresh(cls, base: Base, config: AdapterConfig) -> PatchVSRModel:
        """A base with an untrained adapter: its parameters are frozen, LoRA is added where the config asks for it."""
        base.requires_grad_(False)
        model = cls(base, Adapter.for_base(base, config))
        if config.lora_rank:
            add_lora(base, config.lora_rank)
        return model

    @property
    def config(self) -> AdapterConfig:
        """The adapter's parts."""
        return self.adapter.parts

    @property
    def fixed_prompt(self) -> Tensor:
        """The fixed prompt's embeddings `[1, L, text_dim]`, saved with the adapter."""
        return self.adapter.fixed_prompt

    @fixed_prompt.setter
    def fixed_prompt(self, embeddings: Tensor) -> None:
        self.adapter.set_prompt(embeddings)

    def velocity(
        self, latents: Tensor, t: Tensor, text: TextStates, features: TileFeatures, clock: Clock | None = None
    ) -> Tensor:
        """Velocity `[B, C, T, h, w]`, float32, of a batch of noisy tiles at time t `[B]`."""
        clock = clock or Clock()
        with clock.part("adapter"):
            levels, injections = self.inject(t, features)
        with clock.part("dit"):
            return self.base.velocity(latents, t, text, features, levels, injections, self.adapter.gates)

    def inject(self, t: Tensor, features: TileFeatures) -> Maps:
        """What the patch branch adds at time t `[B]`: level maps, and a feature for each base block."""
        if self.adapter.patch_branch is None or not features.blocks:
            return (), ()
        return self.adapter.patch_branch.inject(features, self.base.embed_time(t, features))

    def trained_state(self) -> dict[str, Tensor]:
        """The adapter, LoRA and the fixed prompt by name: all that training changes."""
        state = {f"adapter.{name}": value for name, value in self.adapter.state_dict().items()}
        prompt = state.pop("adapter.fixed_prompt")
        state |= {f"base.{name}": value for name, value in self.base.state_dict().items() if "lora_" in name}
        return state | {"fixed_prompt": prompt}

    def load_trained_state(self, state: dict[str, Tensor], source: str) -> None:
        """Load what `trained_state` gave, strictly.

        Raises:
            UserError: keys or shapes that do not match; the message names the first of them.
        """
        load_strictly(self, state, self.trained_state(), source)


def load_strictly(module: nn.Module, state: dict[str, Tensor], expected: dict[str, Tensor], source: str) -> None:
    """Copy `state` into `module` if its names and shapes are exactly those of `expected`.

    Raises:
        UserError: they are not; the message names the first difference.
    """
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unexpected:
        what = f"lacks '{missing[0]}'" if missing else f"has an unexpected '{unexpected[0]}'"
        raise UserError(
            f"{source} does not fit this model: it {what} ({len(missing)} keys missing, {len(unexpected)} unexpected); "
            "use the weights of this variant's own arm"
        )
    for name, value in state.items():
        if value.shape != expected[name].shape and name != "fixed_prompt":
            raise UserError(
                f"{source} does not fit this model: '{name}' is {tuple(value.shape)}, "
                f"expected {tuple(expected[name].shape)}; use the weights of this variant's own arm"
            )
    if "fixed_prompt" in state:
        module.fixed_prompt = state["fixed_prompt"].to(expected["fixed_prompt"])
    rest = {name: value for name, value in state.items() if name != "fixed_prompt"}
    module.load_state_dict(rest, strict=False)


def add_lora(base: Base, rank: int) -> None:
    """Add LoRA of `rank` to the base's attention and feed-forward layers, and to a nano stem's convolutions (peft)."""
    from peft import LoraConfig, inject_adapter_in_model

    linear = [n for n, m in base.named_modules() if isinstance(m, nn.Linear) and re.search(LORA_LINEAR + "$", n)]
    convolutions = [n for n, m in base.named_modules() if isinstance(m, nn.Conv2d) and re.search(LORA_CONV + "$", n)]
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=linear + convolutions)
    inject_adapter_in_model(config, base)


def merge_lora(base: Base) -> None:
    """Fold LoRA into the base's own weights (in place), so that inference pays nothing for it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(base.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(base.get_submodule(parent), child, module.get_base_layer())


def use_channels_last(module: nn.Module) -> None:
    """Lay the weights of two-dimensional convolutions out as the maps they meet (in place): faster, and other bits."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)


def save_weights(state: dict[str, Tensor], path: Path, metadata: dict[str, Any], dtype: torch.dtype) -> None:
    """Write a safetensors file; `metadata` goes into its header as JSON under `patchvsr`. Atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in state.items()}
    temporary = path.with_name(path.name + ".part")
    save_file(tensors, temporary, metadata={"patchvsr": json.dumps(metadata, sort_keys=True)})
    temporary.replace(path)
