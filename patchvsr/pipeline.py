"""PatchVSR as a diffusers pipeline.

Sampling is `PatchVSR`'s (`patchvsr.method`); here its parts are diffusers components that are saved, loaded, moved,
offloaded and given LoRA as in any other pipeline.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import DiffusionPipeline, ModelMixin, WanTransformer3DModel
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.utils import BaseOutput, logging
from diffusers.utils.torch_utils import empty_device_cache
from torch import Tensor

from patchvsr.adapter import Adapter
from patchvsr.base import Base, cast, check_config, define
from patchvsr.card import STATUS
from patchvsr.codec import Codec, codecs
from patchvsr.control import RegressionControl
from patchvsr.errors import UserError, nearest
from patchvsr.loading import Parts, load_parts, weights_owner
from patchvsr.method import PatchVSR
from patchvsr.model import PatchVSRModel, use_channels_last
from patchvsr.nano import NanoTransformer3DModel
from patchvsr.pipeline_files import FilesMixin, LoraMixin, plain_spec, restore_spec
from patchvsr.pipeline_io import OUTPUT_TYPES, convert, join, open_frames
from patchvsr.prompt import ByteTextEncoder
from patchvsr.sampling import StepCallback
from patchvsr.sizes import resolve_scale
from patchvsr.upscaler import Clip, Weights
from patchvsr.variants import VariantSpec, check, resolve
from patchvsr.wan import TIMESTEPS

logger = logging.get_logger(f"diffusers.{__name__}")  # below diffusers' own, so that its verbosity counts here too


@dataclass
class PatchVSRPipelineOutput(BaseOutput):
    """The upscaled frames: a tensor `[T, 3, H, W]`, an array `[T, H, W, 3]` (both float32, 0..1) or PIL images."""

    frames: Any


@dataclass(frozen=True, slots=True)
class _Job:
    """One call, checked and ready to run."""

    upscaler: PatchVSR
    clip: Clip
    scale: float
    seed: int
    on_step: StepCallback
    output_type: str
    source: AbstractContextManager


class PatchVSRPipeline(FilesMixin, LoraMixin, DiffusionPipeline):
    """Video super-resolution by a variant of PatchVSR.

    Args:
        transformer: of the base; None in the control without diffusion.
        adapter: for that base, with the fixed prompt.
        vae: the codec's network; None for the codec that has none.
        control: the trained control without diffusion; None in other variants.
        text_encoder: for prompts other than the fixed one; None where the base has none here.
        spec: the variant, as a name such as `full:steps=2` or as plain values.
        weights_status: `trained`, `untrained` or `none` (needs no weights); nothing else vouches for the components.
        weights_sha256: of the files that the components were first loaded from.

    Raises:
        UserError: a variant that does not exist, or components that are not what it needs.
    """

    # The adapter is used before and after every step of every tile. The transformer is let go of once per chunk, when
    # its last step is done and decoding, which takes the most memory, begins (see `_step_callback`).
    model_cpu_offload_seq = "text_encoder->control->vae->transformer"
    _exclude_from_cpu_offload = ["adapter"]
    _optional_components = ["transformer", "adapter", "vae", "text_encoder", "control"]
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        transformer: WanTransformer3DModel | NanoTransformer3DModel | None = None,
        adapter: Adapter | None = None,
        vae: ModelMixin | None = None,
        text_encoder: ByteTextEncoder | None = None,
        control: RegressionControl | None = None,
        spec: str | dict = "full",
        weights_status: str = "untrained",
        weights_sha256: dict | None = None,
    ) -> None:
        super().__init__()
        if weights_status not in STATUS:
            raise UserError(f"unknown weights_status '{weights_status}'{nearest(weights_status, STATUS)}")
        self._spec = restore_spec(plain_spec(resolve(spec)) if isinstance(spec, str) else spec)
        self.register_modules(
            transformer=transformer, adapter=adapter, vae=vae, text_encoder=text_encoder, control=control
        )
        self.register_to_config(weights_status=weights_status, weights_sha256=dict(weights_sha256 or {}))
        for module in (transformer, adapter, control):
            if module is not None:
                use_channels_last(module)
        if not self._missing(self._spec):  # whoever leaves components out on purpose is told when they are needed
            self._spec = self._upscaler(self._spec).spec
        self.register_to_config(spec=plain_spec(self._spec))

    @classmethod
    def from_variant(
        cls,
        variant: str = "full",
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        torch_dtype: torch.dtype | None = None,
    ) -> PatchVSRPipeline:
        """A variant with the weights that ship with the package, or those that its overrides name. LoRA of the arm is
        merged into the transformer.

        Args:
            variant: as on the command line, such as `full:base=wan2.1-1.3b,base_weights=DIR,codec_weights=DIR`.
            dtype: to compute in, float32 if left out. `torch_dtype` is its older name in diffusers.
            device: to compute on.

        Raises:
            UserError: an unknown variant, one with `quantize` or `compile`, which a pipeline's components have methods
                for, or weights that are missing or do not fit.
        """
        spec = resolve(variant)
        for name in ("quantize", "compile"):
            if getattr(spec, name) != "off":
                raise UserError(
                    f"{name}={getattr(spec, name)} is not for pipelines, whose components are saved and exchanged; use "
                    "diffusers' own on pipe.transformer, such as compile_repeated_blocks()"
                )
        parts = load_parts(spec, torch.device(device), dtype or torch_dtype or torch.float32)
        model = parts.model
        return cls(
            transformer=model.base.model if model else None,
            adapter=model.adapter if model else None,
            vae=parts.codec.module,
            text_encoder=parts.text_encoder,
            control=parts.control,
            spec=plain_spec(spec),
            weights_status=parts.weights.status,
            weights_sha256=parts.weights.sha256,
        )

    @property
    def spec(self) -> VariantSpec:
        """The variant, with the base's own values filled in; it knows no paths."""
        return self._spec

    @property
    def weights_status(self) -> str:
        """`trained`, `untrained` (some part has random weights) or `none`; kept when the pipeline is saved."""
        return self.config.weights_status

    def to(self, *args: Any, **kwargs: Any) -> PatchVSRPipeline:
        """As every pipeline's, but what a model keeps in float32 stays so, and is not rounded by a change of dtype."""
        dtype = kwargs.pop("dtype", None) or next((a for a in args if isinstance(a, torch.dtype)), None)
        places = [a for a in args if not isinstance(a, torch.dtype)]
        if places or kwargs.get("device") is not None:
            super().to(*places, **kwargs)
        if dtype is not None:
            for module in self.components.values():
                if isinstance(module, torch.nn.Module):
                    cast(module, dtype)
        return self

    def enable_group_offload(self, *args: Any, **kwargs: Any) -> None:
        """Not supported: it counts on a model's `forward`, and here the parts of the transformer are called.

        Raises:
            UserError: always.
        """
        raise UserError(
            "group offload does not work with this pipeline; use enable_model_cpu_offload() or "
            "enable_sequential_cpu_offload()"
        )

    def __call__(
        self,
        video: Any,
        scale: float = 4.0,
        *,
        size: tuple[int, int] | None = None,
        num_inference_steps: int | None = None,
        tiling: str | None = None,
        modulation: str | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        caption: str | None = None,
        name: str = "clip",
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Any = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> PatchVSRPipelineOutput | tuple[Any]:
        """Upscale a clip that fits in memory, its result included; `stream` takes longer ones.

        Args:
            video: a tensor `[T, 3, H, W]`, an array `[T, H, W, 3]` (each uint8, or floating point in 0..1), a list of
                PIL images, or the path of a video, an image, or a folder of images.
            scale: any factor of at least 1.
            size: width and height of the output in place of the scale, of the same shape as the input.
            num_inference_steps, tiling, modulation: in place of the variant's.
            seed: of the noise, 0 if left out; the same seed and name give the same bytes on a CPU.
            generator: one number is drawn from it as the seed.
            caption: of the clip, where the variant's prompt is a caption.
            name: of the clip; seeds its noise together with the seed.
            output_type: `pt`, `np` or `pil`.
            return_dict: False gives a tuple.
            callback_on_step_end: called as `(pipeline, step, timestep, {"latents": [C, t, h, w]})` after every step of
                every chunk of frames (steps count from 0 in each); what it returns may hold other latents. Timesteps
                are in 0..1000.
            callback_on_step_end_tensor_inputs: which tensors the callback gets; there is only `latents`.

        Raises:
            UserError: input, sizes or options that do not fit, in one sentence.
        """
        chunks = self.stream(
            video, scale, size=size, num_inference_steps=num_inference_steps, tiling=tiling, modulation=modulation,
            seed=seed, generator=generator, caption=caption, name=name, output_type=output_type,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
        )  # fmt: skip
        frames = join(list(chunks), output_type)
        return PatchVSRPipelineOutput(frames=frames) if return_dict else (frames,)

    def stream(
        self,
        video: Any,
        scale: float = 4.0,
        *,
        size: tuple[int, int] | None = None,
        num_inference_steps: int | None = None,
        tiling: str | None = None,
        modulation: str | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        caption: str | None = None,
        name: str = "clip",
        output_type: str = "pt",
        callback_on_step_end: Any = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> Iterator[Any]:
        """As a call, but consecutive chunks of frames as they are made; never more than a few are held.

        Bad input is refused at once; work begins with the first chunk that is asked for.
        """
        if output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type '{output_type}' is unknown; use one of {', '.join(OUTPUT_TYPES)}")
        given = {"steps": num_inference_steps, "tiling": tiling, "modulation": modulation}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        spec = replace(self._spec, **changes)
        check(spec)
        upscaler = self._upscaler(spec)
        if spec.prompt == "caption" and spec.diffusion and not caption:
            raise UserError(f"'{spec.name}' needs a caption; give caption=..., or use a variant with prompt=fixed")
        on_step = self._step_callback(callback_on_step_end, callback_on_step_end_tensor_inputs, upscaler.spec.steps)
        drawn = _seed(seed, generator)
        frames, source = open_frames(video)
        try:
            factor = resolve_scale((frames.shape[3], frames.shape[2]), scale, size)
        except UserError:
            with source:
                raise
        clip = Clip(name, frames, caption)
        return self._run(_Job(upscaler, clip, factor, drawn, on_step, output_type, source))

    def _run(self, job: _Job) -> Iterator[Any]:
        if self.weights_status == "untrained":
            logger.warning(
                f"'{self._spec.name}' has untrained weights: its output says nothing about the method. Load trained "
                "ones, or train them."
            )
        with job.source, self.progress_bar(total=100) as bar:

            def progress(share: float) -> None:
                bar.update(int(share * 100 + 1e-6) - bar.n)

            try:
                chunks = job.upscaler.upscale_from(0, job.clip, job.scale, job.seed, progress, job.on_step)
                for chunk in chunks:
                    yield convert(chunk, job.output_type)
            finally:
                self.maybe_free_model_hooks()

    def _step_callback(self, callback: Any, names: Sequence[str], steps: int) -> StepCallback:
        """What the sampler tells of its steps: hands them to the user's callback, and makes room for decoding."""
        if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
            names = callback.tensor_inputs
        unknown = sorted(set(names) - set(self._callback_tensor_inputs))
        if unknown:
            raise UserError(
                f"callback_on_step_end_tensor_inputs asks for '{unknown[0]}'; there is only "
                f"{', '.join(self._callback_tensor_inputs)}"
            )

        def on_step(step: int, time: float, latents: Tensor) -> Tensor:
            if callback is not None:
                given = {name: latents for name in names}
                result = callback(self, step, torch.tensor(time * TIMESTEPS), given) or {}
                changed = result.get("latents", latents)
                if changed.shape != latents.shape:
                    raise UserError(
                        f"the callback made latents of shape {tuple(changed.shape)} of {tuple(latents.shape)}"
                    )
                latents = changed
            if step + 1 == steps:
                self._offload_transformer()
            return latents

        return on_step

    def _offload_transformer(self) -> None:
        for hook in getattr(self, "_all_hooks", []):
            if hook.model is self.transformer:
                hook.offload()
                empty_device_cache(torch.device(hook.hook.execution_device).type)

    def _missing(self, spec: VariantSpec) -> list[str]:
        needed = ["transformer", "adapter"] if spec.diffusion else []
        if codecs.get(spec.codec or define(spec.base).codec).needs:
            needed.append("vae")
        return [name for name in needed if getattr(self, name) is None]

    def _upscaler(self, spec: VariantSpec) -> PatchVSR:
        """The method on this pipeline's components, where they compute.

        Raises:
            UserError: components that are missing or not those of the variant.
        """
        if missing := self._missing(spec):
            raise UserError(f"'{spec.name}' needs the component '{missing[0]}', and this pipeline has none")
        kind: Any = codecs.get(spec.codec or define(spec.base).codec)
        codec: Codec = kind(self.vae) if kind.needs else kind()
        weights = Weights(self.config.weights_status, dict(self.config.weights_sha256))
        parts = Parts(codec, self._model(spec), self.text_encoder, weights, self.dtype, self.control)
        return PatchVSR(spec, parts, self._execution_device)

    def _model(self, spec: VariantSpec) -> PatchVSRModel | None:
        if not spec.diffusion:
            return None
        definition = define(spec.base)
        check_config(definition, self.transformer, "the pipeline's transformer")
        base = Base(definition, self.transformer)
        if self.adapter.shape != base.shape:
            raise UserError(f"the pipeline's adapter is for another base than '{spec.base}'; load that of its arm")
        arm = weights_owner(spec).adapter_config()
        # Merged LoRA leaves no trace in the adapter, so its rank may be any.
        if replace(self.adapter.parts, lora_rank=arm.lora_rank) != arm:
            raise UserError(f"the pipeline's adapter has other parts than '{spec.name}'; load that of its arm")
        return PatchVSRModel(base, self.adapter)


def _seed(seed: int | None, generator: torch.Generator | None) -> int:
    if generator is None:
        return seed or 0
    if seed is not None:
        raise UserError("both seed and generator are given; leave one out")
    return int(torch.randint(2**63 - 1, (1,), generator=generator, device=generator.device))
