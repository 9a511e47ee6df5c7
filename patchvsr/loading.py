"""From a variant's spec to a model with weights, and what is known about those weights."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from patchvsr import checkpoints
from patchvsr.acceleration import accelerate
from patchvsr.base import Base, BaseDefinition, cast, define
from patchvsr.codec import Codec, fitting
from patchvsr.control import RegressionControl
from patchvsr.errors import UserError
from patchvsr.model import PatchVSRModel, load_strictly, merge_lora, use_channels_last
from patchvsr.prompt import ByteTextEncoder
from patchvsr.upscaler import Weights
from patchvsr.variants import VariantSpec, resolve
from patchvsr.weights import load_safetensors, sha256_file


@dataclass(frozen=True, slots=True)
class Parts:
    """What a variant is made of: no `model` in the control without diffusion, which may have a trained `control`; no
    `text_encoder` where none is known.
    """

    codec: Codec
    model: PatchVSRModel | None
    text_encoder: ByteTextEncoder | None
    weights: Weights
    dtype: torch.dtype
    control: RegressionControl | None = None


def load_parts(spec: VariantSpec, device: torch.device, dtype: torch.dtype) -> Parts:
    """Codec, model and text encoder of a variant, ready for inference.

    Raises:
        UserError: as `load_codec` and `load_model`.
    """
    codec = load_codec(spec, define(spec.base), device, dtype)
    if not spec.diffusion:
        control, hashes = load_control(spec, define(spec.base), device, dtype)
        status = "trained" if codec.sha256 | hashes else "none"
        return Parts(codec, None, None, Weights(status, codec.sha256 | hashes), dtype, control)
    model, text_encoder, weights = load_model(spec, device, dtype)
    return Parts(codec, model, text_encoder, Weights(weights.status, weights.sha256 | codec.sha256), dtype)


def load_codec(spec: VariantSpec, definition: BaseDefinition, device: torch.device, dtype: torch.dtype) -> Codec:
    """The variant's codec, else the base's own.

    Raises:
        UserError: a codec that does not fit the base, that needs weights and got none, or that has none and got some;
            weights that are missing or not its own.
    """
    name = spec.codec or definition.codec
    kind = fitting(name, definition.codec, spec.base)
    if kind.needs and not spec.codec_weights:
        raise UserError(
            f"codec '{name}' of base '{spec.base}' needs weights: give {kind.needs}, "
            f"as in {spec.name}:codec_weights=PATH"
        )
    if spec.codec_weights and not kind.needs:
        raise UserError(
            f"codec '{name}' of base '{spec.base}' has no weights, and '{spec.name}' gives "
            f"codec_weights={spec.codec_weights}; leave it out"
        )
    codec = kind.load(spec.codec_weights, device, dtype)
    fitting(name, definition.codec, spec.base, codec)  # what was loaded may have other sizes than its class
    return codec


def load_control(
    spec: VariantSpec, definition: BaseDefinition, device: torch.device, dtype: torch.dtype
) -> tuple[RegressionControl | None, dict[str, str]]:
    """The trained control without diffusion, and the hash of its file; None where none was trained for this base.

    Raises:
        UserError: weights that are missing, damaged, of another shape, or for a base that has no such control.
    """
    if definition.kind != "nano":
        if spec.weights:
            raise UserError(f"'{spec.name}' on base '{spec.base}' has no weights of its own; leave weights out")
        return None, {}
    hashes: dict[str, str] = {}
    state = _arm_state(spec, spec, hashes)
    if state is None:
        return None, {}
    control = RegressionControl.for_base(definition)
    load_strictly(control, state[0], control.state_dict(), state[1])
    use_channels_last(control)
    cast(control, dtype)
    return control.to(device).eval().requires_grad_(False), {"control": hashes["adapter"]}


def load_model(
    spec: VariantSpec, device: torch.device, dtype: torch.dtype
) -> tuple[PatchVSRModel, ByteTextEncoder | None, Weights]:
    """Base, adapter and LoRA (merged), ready for inference.

    Returns:
        The model, the base's text encoder if it has one, and the status of the weights: `trained` only where base
        and adapter both came from files.

    Raises:
        UserError: files that are missing, damaged or of another shape.
    """
    definition = define(spec.base)
    hashes: dict[str, str] = {}
    base, text_encoder, base_trained = _load_base(spec, definition, dtype, hashes)
    owner = weights_owner(spec)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = PatchVSRModel.fresh(base, owner.adapter_config())
    state = _arm_state(spec, owner, hashes)
    if state is not None:
        model.load_trained_state(*state)
    elif text_encoder is not None:
        with torch.no_grad():
            model.fixed_prompt = text_encoder([definition.prompt])
    if spec.dropped_at_inference:
        _drop(model, owner, spec)
    merge_lora(model.base)
    cast(model, dtype)
    use_channels_last(model)
    status = "trained" if base_trained and state is not None else "untrained"
    model = model.to(device).eval().requires_grad_(False)
    accelerate(model, device, attention=spec.attention, quantize=spec.quantize, compile=spec.compile)
    return model, text_encoder, Weights(status, hashes)


def _load_base(
    spec: VariantSpec, definition: BaseDefinition, dtype: torch.dtype, hashes: dict[str, str]
) -> tuple[Base, ByteTextEncoder | None, bool]:
    path = Path(spec.base_weights) if spec.base_weights else None
    if definition.kind == "nano":
        found = checkpoints.find("bases", spec.base)
        if path is not None:
            if not path.is_file():
                raise UserError(f"base_weights={path} of '{spec.name}' does not exist; give a safetensors file")
            found = checkpoints.Checkpoint(path, sha256_file(path))
        base, text_encoder = checkpoints.load_nano(definition, found)
        if found is not None:
            hashes["base"] = found.sha256
        return base, text_encoder, found is not None
    if path is None:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return Base.build(definition), None, False
    base = Base.from_diffusers(definition, path, dtype)
    for file in sorted(path.rglob("*.safetensors")):
        hashes[f"base/{file.name}"] = sha256_file(file)
    return base, None, True


def weights_owner(spec: VariantSpec) -> VariantSpec:
    """The variant whose arm's weights are loaded: `full` where parts are dropped at inference, else the spec itself."""
    if not spec.dropped_at_inference:
        return spec
    full = resolve("full")
    kept = ("name", "base", "weights", "base_weights", "patch_blocks", "context_blocks")
    return replace(full, **{key: getattr(spec, key) for key in kept})


def _arm_state(
    spec: VariantSpec, owner: VariantSpec, hashes: dict[str, str]
) -> tuple[dict[str, Tensor], str] | None:
    if spec.weights:
        path = Path(spec.weights)
        if not path.is_file():
            raise UserError(f"weights={path} of '{spec.name}' does not exist; give a safetensors file")
        found: checkpoints.Checkpoint | None = checkpoints.Checkpoint(path, sha256_file(path))
    else:
        found = checkpoints.find("arms", owner.arm)
    if found is None:
        return None
    hashes["adapter"] = found.sha256
    return {name: value.float() for name, value in load_safetensors(found.path, found.sha256).items()}, str(found.path)


def _drop(model: PatchVSRModel, owner: VariantSpec, spec: VariantSpec) -> None:
    """Leave out of a full model what the spec lacks; parts of another kind cannot be swapped in."""
    dropped = set()
    if not spec.patch:
        dropped.add("patch")
    for part in ("context", "position"):
        wanted, trained = getattr(spec, part), getattr(owner, part)
        if wanted == trained:
            continue
        if wanted not in ("none", "crop"):
            raise UserError(
                f"'{spec.name}' with dropped_at_inference=true asks for {part}={wanted}, but '{owner.arm}' was trained "
                f"with {trained}; a part can be dropped (none), not exchanged"
            )
        if wanted == "none":
            dropped.add(part)
    if not spec.lora and owner.lora:
        for name, parameter in model.base.named_parameters():
            if "lora_B" in name:
                torch.nn.init.zeros_(parameter)
    model.adapter.drop(dropped)
