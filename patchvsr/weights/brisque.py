"""BRISQUE's support vector regression (Mittal, Moorthy and Bovik 2012): LIVE's released model, a libsvm text file."""
from __future__ import annotations

from pathlib import Path

import torch

from patchvsr.errors import UserError
from patchvsr.weights.files import State

# Least and greatest value of each of the 36 features among LIVE's training images, from the release's `allrange`: the
# regression takes features scaled by them to -1..1. The model's own file does not hold them.
RANGES = (
    (0.338, 10.0), (0.017204, 0.806612),
    (0.236, 1.642), (-0.123884, 0.20293), (0.000155, 0.712298), (0.001122, 0.470257),
    (0.244, 1.641), (-0.123586, 0.179083), (0.000152, 0.710456), (0.000975, 0.470984),
    (0.249, 1.555), (-0.135687, 0.100858), (0.000174, 0.684173), (0.000913, 0.534174),
    (0.258, 1.561), (-0.143408, 0.100486), (0.000179, 0.685696), (0.000888, 0.536508),
    (0.471, 3.264), (0.012809, 0.703171),
    (0.218, 1.046), (-0.094876, 0.187459), (0.000015, 0.442057), (0.001272, 0.40803),
    (0.222, 1.042), (-0.115772, 0.162604), (0.000016, 0.444362), (0.001374, 0.40243),
    (0.227, 0.996), (-0.117188, 0.09832299999999999), (0.00003, 0.531903), (0.001122, 0.369589),
    (0.228, 0.99), (-0.12243, 0.098658), (0.000028, 0.530092), (0.001118, 0.370399),
)  # fmt: skip


def convert(path: Path) -> State:
    """The model as tensors of float64.

    `sv` [vectors, 36] and `sv_coef` [vectors] are the support vectors and their coefficients, `rho` and `gamma` (no
    dimensions) the bias and the kernel's width: the score of scaled features f is
    sum_i sv_coef_i exp(-gamma |f - sv_i|^2) - rho. `feature_range` [36, 2] is `RANGES`.

    Raises:
        UserError: the file is no libsvm regression with a radial kernel, or is damaged.
    """
    try:
        header, _, body = path.read_text(encoding="ascii").partition("\nSV\n")
        fields = dict(line.split(maxsplit=1) for line in header.splitlines())
        if (fields["svm_type"], fields["kernel_type"]) != ("epsilon_svr", "rbf"):
            raise ValueError(f"{fields['svm_type']} with a {fields['kernel_type']} kernel")
        rows = [line.split() for line in body.splitlines() if line.strip()]
        if len(rows) != int(fields["total_sv"]):
            raise ValueError(f"{len(rows)} of {fields['total_sv']} support vectors")
        vectors = torch.zeros(len(rows), len(RANGES), dtype=torch.float64)
        for row, (_, *entries) in enumerate(rows):
            for entry in entries:  # zeros are left out
                index, _, value = entry.partition(":")
                vectors[row, int(index) - 1] = float(value)
        return {
            "sv": vectors,
            "sv_coef": torch.tensor([float(row[0]) for row in rows], dtype=torch.float64),
            "rho": torch.tensor(float(fields["rho"]), dtype=torch.float64),
            "gamma": torch.tensor(float(fields["gamma"]), dtype=torch.float64),
            "feature_range": torch.tensor(RANGES, dtype=torch.float64),
        }
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path.name} is no readable BRISQUE model: {error}") from error
