"""Ablation studies: arms trained at equal budget, compared with paired statistics."""
