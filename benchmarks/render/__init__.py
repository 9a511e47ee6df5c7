"""A rendered test clip: any resolution, exact 4K ground truth, exact optical flow.

The scene (`scene.py`) is planar layers in continuous coordinates, seen by a moving camera: sky and hills, ground,
tree canopy, a board of text and test charts, two independently moving objects and a wire fence.
"""

from __future__ import annotations

from benchmarks.render.scene import VERSION, Flow, Scene, default_scene, flow, render

__all__ = ["VERSION", "Flow", "Scene", "default_scene", "flow", "render"]
