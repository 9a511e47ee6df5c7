"""Performance measured side by side with pytest-benchmark: `make perf`. Compare within one run only."""
