"""Run directories of `benchmarks.run`, as far as reports need them."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.store import Output, Score, read_result
from patchvsr.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A finished work item, and where its record and frames are.

    Attributes:
        run: the run directory.
        hash: of the item; its record is `run/items/HASH.json`.
        key: everything that decided the result.
        input: hash of the clip's description: its frames, ground truth, scale and degradation.
        weights, status, message, measured, scores, output, cuts, note: as in `benchmarks.store.Result`.
    """

    run: Path
    hash: str
    key: Mapping[str, Any]
    clip: str
    variant: str
    seed: int
    weights: str
    status: str
    message: str | None
    measured: Mapping[str, float]
    scores: Mapping[str, Score]
    output: Output | None
    cuts: Mapping[str, list[int]] | None
    note: str | None = None

    @property
    def record(self) -> Path:
        """The file that every number of this item comes from."""
        return self.run / "items" / f"{self.hash}.json"

    @property
    def input(self) -> str:
        """What decides the picture that went in and what it is compared with, as text."""
        clip = self.key["clip"]
        decisive = ("lq_sha256", "gt_sha256", "scale", "degradation", "frames")
        return json.dumps({name: clip.get(name) for name in decisive})

    @property
    def frames(self) -> Path | None:
        """Folder of the output's PNG frames, None where they are no longer there."""
        folder = None if self.output is None else self.run / self.output.path
        return folder if folder is not None and folder.is_dir() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run directory.

    Attributes:
        path: of the directory.
        description: `run.json`.
        setting: suite and protocol in a few words; runs with the same words are compared with each other.
        suite_clips: names of all clips of the suite.
        metrics: name to identity, as the plan had it.
        items: finished items of the plan, in its order.
    """

    path: Path
    description: Mapping[str, Any]
    setting: str
    suite_clips: list[str]
    metrics: Mapping[str, str]
    items: list[Item]

    @property
    def machine(self) -> str:
        """Processor or GPU, threads where it is a processor, and precision."""
        where = self.description["environment"]
        device = where["device"]
        threads = f"{where['torch_threads']} thread{'' if where['torch_threads'] == 1 else 's'}"
        named = f"{where['cpu']} ({threads})" if device == "cpu" else device
        return f"{named}, {self.description['dtype']}"

    @property
    def command(self) -> str:
        """What was typed."""
        return "python -m benchmarks.run " + " ".join(_quoted(word) for word in self.description["argv"])


def _quoted(word: str) -> str:
    return f'"{word}"' if any(character in word for character in " ;()[]*?&|") else word


def read_run(path: Path) -> Run:
    """Read a run directory.

    Raises:
        UserError: it is none, its `run.json` or a record is damaged or of another layout, or it has no finished item.
    """
    file = path / "run.json"
    if not file.is_file():
        raise UserError(f"'{path}' has no run.json; give the --out of a benchmarks.run")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        planned = [entry["hash"] for entry in description["items"]]
        setting = _setting(description["suite"], description["clips"])
        clips, named = list(description["suite_clips"]), dict(description["metrics"])
        description["environment"]["device"], description["environment"]["cpu"]  # what `machine` needs
        description["environment"]["torch_threads"], description["dtype"], description["argv"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{file}' cannot be read ({error!r}); run the same command again to write it anew") from error
    items = [_read_item(path, digest) for digest in planned if (path / "items" / f"{digest}.json").is_file()]
    if not items:
        raise UserError(f"'{path}' has no finished item of its last plan; complete the run")
    return Run(path=path, description=description, setting=setting, suite_clips=clips, metrics=named, items=items)


def _read_item(path: Path, digest: str) -> Item:
    found = read_result(path / "items" / f"{digest}.json")
    return Item(
        run=path,
        hash=found.hash,
        key=found.key,
        clip=found.clip,
        variant=found.variant,
        seed=found.seed,
        weights=found.weights,
        status=found.status,
        message=found.message,
        measured=found.measured,
        scores=found.scores,
        output=found.output,
        cuts=found.cuts,
        note=found.note,
    )


def _setting(suite: str, clips: list[dict[str, Any]]) -> str:
    """The suite, and scale and degradation where all clips have the same."""
    words = [suite]
    scales = {clip["scale"] for clip in clips}
    if len(scales) == 1:
        words.append(f"x{scales.pop():g}")
    degradations = {clip["degradation"] for clip in clips}
    if len(degradations) == 1 and (name := degradations.pop()):
        words.append(_name_of(name))
    return " ".join(words)


def _name_of(degradation: str) -> str:
    """The first word of a degradation's identity is its name."""
    return degradation.replace("|", " ").split()[0]
