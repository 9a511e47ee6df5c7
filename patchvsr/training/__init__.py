"""Training: `python -m patchvsr.training` (stage 1: the base; stage 2: an arm's adapter on the frozen base)."""
