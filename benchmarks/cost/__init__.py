"""What a variant costs: exact FLOPs without weights or hardware, and memory, time and energy where it runs."""
from benchmarks.cost.flops import PARTS, Cost, count_variant

__all__ = ["PARTS", "Cost", "count_variant"]
