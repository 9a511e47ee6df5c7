"""What the adapter sees and says of the tiles of one chunk, stage by stage, through the cache."""
from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from patchvsr.adapter import Adapter, Maps, TileInput
from patchvsr.attention import KeyValue
from patchvsr.cache import FeatureCache, Key
from patchvsr.clock import Clock
from patchvsr.codec import Codec
from patchvsr.context import ContextView
from patchvsr.position import Place
from patchvsr.wan import TextStates, TileFeatures

Keys = tuple[KeyValue, ...]


class Stages(ABC):
    """In which order the stages of a batch of tiles are made, and which of them serve the whole chunk.

    A subclass makes them: `TileStages` calculates, and the cost tables count what that would be. Only what a stage
    that is not kept asks for is made.

    Args:
        cache: of this chunk.
        patch: there is a patch branch.
        context: there is a context branch.
        whole: the context branch sees the whole frame, so its view is made once.
        shared: nor does it see the tile's place, so its tokens, keys and values are made once, too.
    """

    def __init__(self, cache: FeatureCache, *, patch: bool, context: bool, whole: bool, shared: bool) -> None:
        self.cache = cache
        self.has_patch, self.has_context, self.whole, self.shared = patch, context, whole, whole and shared
        self._view: Any = None
        self._tokens: Any = None
        self._keys: Any = None

    def features(self, key: Key) -> Any:
        """What the base needs of a batch of tiles."""
        maps = self.cache.get("patch", key, lambda: self.make_patch(key, self.condition(key))) if self.has_patch else ()
        return self.join(key, maps, self.keys(key) if self.has_context else ())

    def condition(self, key: Key) -> Any:
        """Latents of the tiles' upsampled frames."""
        return self.cache.get("condition", key, lambda: self.make_condition(key))

    def keys(self, key: Key) -> Any:
        """Keys and values of the context."""
        if not self.shared:
            return self.cache.get("keys", key, lambda: self.make_keys(self.tokens(key)))
        if self._keys is None:
            self._keys = self.make_keys(self.tokens(key))
        return self._keys

    def tokens(self, key: Key) -> Any:
        """Context tokens."""
        if not self.shared:
            return self.cache.get("tokens", key, lambda: self.make_tokens(key, self.view(key)))
        if self._tokens is None:
            self._tokens = self.make_tokens(key, self.view(key))
        return self._tokens

    def view(self, key: Key) -> Any:
        """Latents of what the context branch sees."""
        if not self.whole:
            return self.cache.get("view", key, lambda: self.make_view(key))
        if self._view is None:
            self._view = self.make_view(key[:1])
        return self._view

    @abstractmethod
    def make_condition(self, key: Key) -> Any:
        """See `condition`."""

    @abstractmethod
    def make_view(self, key: Key) -> Any:
        """See `view`."""

    @abstractmethod
    def make_patch(self, key: Key, condition: Any) -> Any:
        """The patch branch's maps."""

    @abstractmethod
    def make_tokens(self, key: Key, view: Any) -> Any:
        """See `tokens`."""

    @abstractmethod
    def make_keys(self, tokens: Any) -> Any:
        """See `keys`."""

    @abstractmethod
    def join(self, key: Key, maps: Any, keys: Any) -> Any:
        """The parts that depend on nothing but the tiles' places, and all of it put together."""


class TileStages(Stages):
    """The stages of one chunk, calculated.

    Args:
        cache: of this chunk.
        adapter: whose branches run.
        codec: of the base.
        view: what the context branch sees, or None.
        up: upsampled frames `[T, 3, H, W]`.
        augmentation: noise `[C, t, h, w]` of the condition.
        level: share of that noise, 0..1.
        scale: the upscaling factor.
        text: the prompt.
        device, dtype: where and in which precision branches compute.
        clock: counts the codec's and the adapter's seconds.
    """

    def __init__(
        self,
        cache: FeatureCache,
        adapter: Adapter,
        codec: Codec,
        view: ContextView | None,
        *,
        up: Tensor,
        augmentation: Tensor,
        level: float,
        scale: float,
        text: TextStates,
        device: torch.device,
        dtype: torch.dtype,
        clock: Clock,
    ) -> None:
        dropped = adapter.dropped
        super().__init__(
            cache,
            patch=adapter.patch_branch is not None and "patch" not in dropped,
            context=adapter.context_encoder is not None and view is not None and "context" not in dropped,
            whole=view is not None and view.whole,
            shared=adapter.position.shares_context,
        )
        self.adapter, self.codec, self.sees = adapter, codec, view
        self.up, self.augmentation, self.level, self.scale = up, augmentation, level, scale
        self.text, self.device, self.dtype, self.clock = text, device, dtype, clock

    def make_condition(self, key: Key) -> Tensor:
        """`[B, C, t, h, w]`, noise-augmented, in the branches' dtype."""
        with self.clock.part("codec"):
            return torch.stack([self._condition(place) for place in key]).to(self.device, self.dtype)

    def _condition(self, place: Place) -> Tensor:
        latents = self.codec.encode(self.up[..., *_pixels(place, self.codec.spatial)])
        box = (slice(place.top, place.top + place.height), slice(place.left, place.left + place.width))
        return (1 - self.level) * latents.cpu() + self.level * self.augmentation[..., *box].float()

    def make_view(self, key: Key) -> Tensor:
        """`[B or 1, C, t, hc, wc]`."""
        assert self.sees is not None
        with self.clock.part("codec"):
            boxes = [_box(place, self.codec.spatial) for place in key]
            latents = [self.codec.encode(self.sees.frames(self.up, box)) for box in boxes]
            return torch.stack(latents).to(self.device, self.dtype)

    def make_patch(self, key: Key, condition: Tensor) -> Maps:
        """See `Adapter.encode_patch`."""
        with self.clock.part("adapter"):
            return self.adapter.encode_patch(self._tile(key, condition), self.text)

    def make_tokens(self, key: Key, view: Tensor) -> Tensor | None:
        """See `Adapter.encode_context`."""
        with self.clock.part("adapter"):
            return self.adapter.encode_context(self._tile(key, context=view), self.text)

    def make_keys(self, tokens: Tensor | None) -> Keys:
        """See `Adapter.context_keys`."""
        with self.clock.part("adapter"):
            return self.adapter.context_keys(tokens)

    def join(self, key: Key, maps: Maps | tuple[()], keys: Keys) -> TileFeatures:
        """See `Adapter.features`."""
        with self.clock.part("adapter"):
            tile = self._tile(key)
            own = self.adapter.own_keys(tile, keys[0].key) if keys else ()
            return self.adapter.features(tile, maps or ((), ()), keys, own)

    def _tile(self, key: Key, latents: Tensor | None = None, context: Tensor | None = None) -> TileInput:
        scale, level = (torch.full((len(key),), value, device=self.device) for value in (self.scale, self.level))
        return TileInput(latents, context, key, scale, level)


def _box(place: Place, spatial: int) -> tuple[int, int, int, int]:
    return place.top * spatial, place.left * spatial, place.height * spatial, place.width * spatial


def _pixels(place: Place, spatial: int) -> tuple[slice, slice]:
    top, left, height, width = _box(place, spatial)
    return slice(top, top + height), slice(left, left + width)
