"""Prompts: nano's byte-level text encoder, trained with its base."""
from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from patchvsr.errors import UserError
from patchvsr.offload import compute_device

LENGTH = 128
"""Longest prompt in UTF-8 bytes."""


class ByteTextEncoder(ModelMixin, ConfigMixin):
    """UTF-8 bytes to embeddings `[B, LENGTH / 4, dim]` by two strided convolutions.

    Always float32: it is tiny and runs once per clip.
    """

    _keep_in_fp32_modules = ["embedding", "conv_1", "conv_2"]

    @register_to_config
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(257, dim)
        self.conv_1 = nn.Conv1d(dim, dim, 4, stride=2, padding=1)
        self.conv_2 = nn.Conv1d(dim, dim, 4, stride=2, padding=1)

    def forward(self, prompts: list[str]) -> Tensor:
        """Embeddings of the prompts.

        Raises:
            UserError: a prompt is longer than LENGTH bytes.
        """
        rows = []
        for prompt in prompts:
            data = list(prompt.encode())
            if len(data) > LENGTH:
                raise UserError(f"prompt of {len(data)} bytes ('{prompt[:40]}...') is over {LENGTH}; shorten it")
            rows.append(data + [256] * (LENGTH - len(data)))
        hidden = self.embedding(torch.tensor(rows, device=compute_device(self))).transpose(1, 2)
        return self.conv_2(F.silu(self.conv_1(hidden))).transpose(1, 2)
