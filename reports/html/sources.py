"""Input and ground truth of a run's clips, found again and shown only if they are the frames that the run saw."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.suites import SuiteClip, load_folders, load_suite
from benchmarks.suites.examine import examine
from benchmarks.suites.folders import load_ground_truth
from patchvsr.degradation import degradations
from patchvsr.errors import UserError
from reports.runs import Item, Run


def clips_of(run: Run) -> dict[str, SuiteClip]:
    """The clips that the run's options name, by name; nothing of them is read yet.

    Raises:
        UserError: the run does not say what it was run on, or the clips are no longer there.
    """
    try:
        options = yaml.safe_load(run.description["config"])
        found = _load(options)
    except (KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"run.json of '{run.path}' does not say where its clips are ({error!r})") from error
    except OSError as error:
        raise UserError(f"the clips of '{run.path}' cannot be read ({error.strerror})") from error
    return {clip.name: clip for clip in found}


def _load(options: Mapping[str, Any]) -> list[SuiteClip]:
    scale, frames, degradation = options["scale"], options["frames"], options["degradation"]
    lq, gt, root = (None if options[key] is None else Path(options[key]) for key in ("lq", "gt", "data-root"))
    if options["suite"] is not None:
        return load_suite(options["suite"], root, frames, scale, degradation)
    if lq is not None:
        return load_folders(lq, gt, scale, frames)
    if gt is None or degradation is None:
        raise UserError("the run names no suite and no folder of clips")
    return load_ground_truth(gt, degradations.get(degradation), scale, frames)


def check_same(clip: SuiteClip, item: Item) -> None:
    """Read the clip and compare its hashes with those that the item was made with.

    Raises:
        UserError: it cannot be read, or holds other frames now.
    """
    found, was = examine(clip, remember=False), item.key["clip"]
    if (found.lq_sha256, found.gt_sha256) != (was["lq_sha256"], was["gt_sha256"]):
        raise UserError(f"the frames of clip '{clip.name}' are not those of the run any more (other hashes)")
