"""Benchmarks: suites of clips, metrics, and the harness that runs upscalers on them."""
