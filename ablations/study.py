"""What a study is: arms that differ in something, clips to compare them on, and claims that the comparison tests.

A study is a YAML file: one in `ablations/studies`, one that an installed package names by an entry point in the group
`patchvsr.studies` (its `pathlib.Path`), or any file by its path.

    title: What the location is worth
    question: Does a tile need to know where it lies?
    base: full                       # what claims compare with, unless they say otherwise
    axis: {position: [none]}         # or `grid` with several fields, or `arms` by name; the base is an arm, too
    labels: {"full:position=none": nowhere}
    training: equal                  # arms have weights of their own, made alike; `inference`: they share the base's
    data:
      - {suite: 4k, frames: 2}
    metrics: [lpips, seam]
    claims:
      - {arm: nowhere, metric: lpips, expect: worse}

`training: {kind: equal, steps: 2000, seeds: [0, 1]}` also says how `--train` trains. `paper` keeps figures that were
reported elsewhere beside the study's own, and apart from them: `{on: "Set5, x4", values: {full: {psnr: 30.1}}}`.
"""
from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from ablations.arms import Arm, arms_of, single
from patchvsr.errors import UserError, nearest
from patchvsr.registry import Registry

Expectation = Literal["better", "worse", "different", "equivalent", "not_worse"]
Training = Literal["equal", "inference"]
NEED_MARGIN = ("equivalent", "not_worse")

studies: Registry[Path] = Registry("studies")
for _file in sorted((Path(__file__).parent / "studies").glob("*.yaml")):
    studies.register(_file.stem)(_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Clips to run on: a suite, or folders, with what `benchmarks.run` may be told of them.

    Attributes:
        label: names the run directory and the rows of results.
        options: `suite`, `lq`, `gt`, `data_root`, `degradation`, `scale`, `frames`, `clips`.
    """

    label: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is expected of an arm beside another, in one metric.

    Attributes:
        arm, against: labels of arms or baselines.
        expect: `better` or `worse` by the metric's direction, `different`, `equivalent` (within the margin either
            way) or `not_worse` (worse by at most the margin).
        margin: in the metric's unit; for metrics that are best at 1, of the distance |log value|.
    """

    arm: str
    against: str
    metric: str
    expect: Expectation
    margin: float | None = None

    def __str__(self) -> str:
        words = {
            "better": f"'{self.arm}' is better than '{self.against}' in {self.metric}",
            "worse": f"'{self.arm}' is worse than '{self.against}' in {self.metric}",
            "different": f"'{self.arm}' and '{self.against}' differ in {self.metric}",
            "equivalent": f"'{self.arm}' equals '{self.against}' in {self.metric} within {self.margin}",
            "not_worse": f"'{self.arm}' is worse than '{self.against}' in {self.metric} by {self.margin} at most",
        }
        return words[self.expect]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study, resolved.

    Attributes:
        name: of its file.
        title, question: a line each.
        base: label of the arm that claims compare with by default.
        arms: with the base.
        baselines: run beside the arms: no arms, but claims may name them.
        training: `equal`: arms have weights of their own, trained alike; `inference`: they share weights and differ in
            how these are used.
        steps, seeds: of the training of each arm, where the command line has no others; None for the configs' own.
        data, metrics, claims: see `Data`, `benchmarks.metrics` and `Claim`.
        notes: sentences that belong beside the results.
        paper: `on` (what was measured there) and `values`, by label and metric, that were reported elsewhere.
    """

    name: str
    title: str
    question: str
    base: str
    arms: tuple[Arm, ...]
    baselines: tuple[str, ...]
    training: Training
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    data: tuple[Data, ...]
    metrics: tuple[str, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]
    paper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """Labels of the arms, then the baselines."""
        return [*(arm.label for arm in self.arms), *self.baselines]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = asdict(self)
        return found


_KEYS: dict[str, type | tuple[type, ...]] = {
    "title": str, "question": str, "base": str, "arms": (list, dict), "axis": dict, "grid": dict, "skip": list,
    "labels": dict, "baselines": list, "training": (str, dict), "data": list, "metrics": list, "claims": list,
    "notes": list, "paper": dict,
}  # fmt: skip
_NEEDED = ("title", "question", "base", "training", "data", "metrics")
_TEXT = ("suite", "lq", "gt", "data_root", "degradation")
_DATA = ("label", *_TEXT, "scale", "frames", "clips")


def find_study(text: str) -> Path:
    """The file of a study by its name, or the path itself.

    Raises:
        UserError: neither, or an installed package names something that is no path.
    """
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
        if not path.is_file():
            raise UserError(f"there is no study file '{text}'; give the path of a YAML file, or one of {_names()}")
        return path
    if text not in studies:
        raise UserError(f"unknown study '{text}'{nearest(text, studies.names())}; or give the path of a YAML file")
    found = studies.get(text)
    if not isinstance(found, Path):
        raise UserError(f"study '{text}' of an installed package is {found!r}, not the pathlib.Path of a YAML file")
    return found


def _names() -> str:
    return ", ".join(studies.names())


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice; YAML's own loader forgets the first value without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"the key '{twice[0]}' is given twice; leave one out")
        return super().construct_mapping(node, deep)


def read_study(path: Path) -> Study:
    """Read and check a study's file.

    Raises:
        UserError: it cannot be read, lacks or has a key that it must or must not, an arm cannot be resolved, or a claim
            names an arm or a metric that the study has not.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        if not isinstance(data, dict):
            raise UserError(f"it must be a mapping with the keys {', '.join(_NEEDED)}")
        return _study(path.stem, data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _study(name: str, data: dict[str, Any]) -> Study:
    _check_keys(data)
    arms = arms_of(data)
    known = [arm.label for arm in arms]
    base = next((arm.label for arm in arms if data["base"] in (arm.label, arm.variant)), None)
    if base is None:
        raise UserError(f"the base '{data['base']}' is no arm; the arms are {', '.join(known)}")
    metrics = _unique(data["metrics"], "metrics")
    baselines = tuple(single(text, "baselines") for text in _unique(data.get("baselines", []), "baselines"))
    if taken := [text for text in baselines if text in [*known, *(arm.variant for arm in arms)]]:
        raise UserError(f"the baseline '{taken[0]}' is an arm of the study, too; leave one out")
    training, steps, seeds = _training(data["training"])
    return Study(
        name=name,
        title=data["title"],
        question=data["question"],
        base=base,
        arms=arms,
        baselines=baselines,
        training=training,
        steps=steps,
        seeds=seeds,
        data=_data(data["data"]),
        metrics=metrics,
        claims=tuple(_claim(entry, base, [*known, *baselines], metrics) for entry in data.get("claims", [])),
        notes=_unique(data.get("notes", []), "notes"),
        paper=_paper(data.get("paper", {}), [*known, *baselines]),
    )


def _check_keys(data: dict[str, Any]) -> None:
    for key, value in data.items():
        if key not in _KEYS:
            raise UserError(f"unknown key '{key}'{nearest(str(key), _KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise UserError(f"'{key}' is {value!r}, which is of the wrong kind; see an example in ablations/studies")
    for key in _NEEDED:
        if not data.get(key):
            raise UserError(f"the key '{key}' is missing or empty")
    if sum(key in data for key in ("arms", "axis", "grid")) != 1:
        raise UserError("a study has one of the keys arms, axis and grid")
    if len(data.get("axis", {"": 0})) != 1:
        raise UserError("'axis' names one field; use grid for several")


def _unique(listed: list[Any], key: str) -> tuple[str, ...]:
    """Texts that are listed once."""
    for entry in listed:
        if not isinstance(entry, str):
            raise UserError(f"{key} has {entry!r}, which is no text")
        if listed.count(entry) > 1:
            raise UserError(f"{key} has '{entry}' twice; leave one out")
    return tuple(listed)


def _training(value: Any) -> tuple[Training, int | None, tuple[int, ...]]:
    told = value if isinstance(value, dict) else {"kind": value}
    if unknown := [key for key in told if key not in ("kind", "steps", "seeds")]:
        raise UserError(f"training has the unknown key '{unknown[0]}'; it may have kind, steps and seeds")
    kind, steps, seeds = told.get("kind"), told.get("steps"), told.get("seeds", [0])
    if kind not in get_args(Training):
        raise UserError(f"training is '{kind}'; write equal (arms have weights of their own, trained alike) or "
                        "inference (they share weights)")  # fmt: skip
    if kind == "inference" and len(told) > 1:
        raise UserError("training is inference, so there are no steps and seeds; leave them out")
    if steps is not None and (type(steps) is not int or steps < 1):
        raise UserError(f"steps of training is {steps!r}; it must be a whole number of at least 1")
    return kind, steps, check_seeds(seeds)


def check_seeds(seeds: Any) -> tuple[int, ...]:
    """Seeds of training.

    Raises:
        UserError: they are not different whole numbers from 0.
    """
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise UserError(f"seeds are {seeds!r}; they must be a list of whole numbers from 0, such as [0, 1, 2]")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds are {seeds!r}; name each once")
    return tuple(seeds)


def _claim(entry: Any, base: str, labels: list[str], metrics: tuple[str, ...]) -> Claim:
    if not isinstance(entry, dict) or not {"arm", "metric", "expect"} <= set(entry):
        raise UserError(f"the claim {entry!r} needs arm, metric and expect")
    if unknown := set(entry) - {"arm", "against", "metric", "expect", "margin"}:
        raise UserError(f"the claim {entry!r} has the unknown key '{unknown.pop()}'")
    margin = entry.get("margin")
    arm, against, metric, expect = (str(entry.get(key, base)) for key in ("arm", "against", "metric", "expect"))
    for label in (arm, against):
        if label not in labels:
            raise UserError(f"a claim names the arm '{label}', which the study has not{nearest(label, labels)}")
    if metric not in metrics:
        raise UserError(f"a claim is about '{metric}', which the study does not measure; add it to metrics")
    if expect not in get_args(Expectation):
        raise UserError(f"a claim expects '{expect}'{nearest(expect, get_args(Expectation))}")
    if arm == against:
        raise UserError(f"the claim {entry!r} compares '{arm}' with itself; name another arm under against")
    usable = type(margin) in (int, float) and isfinite(margin) and margin > 0
    if usable != (expect in NEED_MARGIN) or (margin is not None and not usable):
        raise UserError(f"the claim {entry!r} needs a margin above 0 with {' and '.join(NEED_MARGIN)}, and none else")
    return Claim(arm=arm, against=against, metric=metric, expect=expect, margin=margin)  # type: ignore[arg-type]


def _data(entries: list[Any]) -> tuple[Data, ...]:
    found = tuple(data_of(entry) for entry in entries)
    labels = [entry.label for entry in found]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"two entries of data are called '{twice[0]}'; give each a label")
    return found


def data_of(entry: Any) -> Data:
    """An entry of `data`, checked.

    Raises:
        UserError: an unknown key, a value of the wrong kind, or nothing to run on.
    """
    if not isinstance(entry, dict):
        raise UserError(f"the entry {entry!r} of data must be a mapping such as {{suite: 4k, frames: 2}}")
    for key, value in entry.items():
        if key not in _DATA:
            raise UserError(f"data has the unknown key '{key}'{nearest(str(key), _DATA)}")
        if wrong := _wrong(key, value):
            raise UserError(f"{key} of data is {value!r}; it must be {wrong}")
    given = {"suite", "lq", "gt"} & set(entry)
    fits = given in ({"suite"}, {"lq"}, {"lq", "gt"}) or (given == {"gt"} and "degradation" in entry)
    if not fits:
        raise UserError(f"the entry {entry!r} of data needs a suite, an lq (with its gt or without), or a gt with a "
                        "degradation")  # fmt: skip
    options = {key: value for key, value in entry.items() if key != "label"}
    return Data(label=entry.get("label") or _data_label(options), options=options)


def _wrong(key: str, value: Any) -> str | None:
    """What a value of `data` must be, unless it is."""
    if key == "label":
        fits = isinstance(value, str) and value.strip() == value == Path(value).name and value != ""
        return None if fits else "a short name that can name a folder"
    if key in _TEXT:
        return None if isinstance(value, str) and value else "text"
    if key == "scale":
        return None if type(value) in (int, float) and 1 <= value < float("inf") else "a factor of 1 or more"
    if key == "frames":
        return None if type(value) is int and value >= 1 else "a whole number of 1 or more"
    names = value if isinstance(value, list) else [value]
    # Without quotes, YAML makes the number 9 of a clip's name 011.
    return None if names and all(isinstance(name, str) for name in names) else "names of clips, numbers in quotes"


def _data_label(options: Mapping[str, Any]) -> str:
    """A short name for clips: the suite or folder, with scale and degradation where these are given."""
    place = options.get("suite") or options.get("lq") or options["gt"]
    name = Path(place).resolve().stem if "suite" in options else Path(place).resolve().name
    scale = f"x{options['scale']:g}" if options.get("scale") else ""
    return "-".join(str(part) for part in (name or "clips", scale, options.get("degradation")) if part)


def _paper(told: dict[Any, Any], labels: list[str]) -> dict[str, Any]:
    """Figures that were reported elsewhere, checked."""
    if not told:
        return {}
    values = told.get("values")
    if set(told) != {"on", "values"} or not isinstance(told["on"], str) or not isinstance(values, dict):
        raise UserError("'paper' has the keys on (what was measured there) and values (label to metric to number)")
    for label, row in values.items():
        if label not in labels:
            raise UserError(f"'paper' names the arm '{label}', which the study has not{nearest(str(label), labels)}")
        if not isinstance(row, dict) or not all(type(value) in (int, float) for value in row.values()):
            raise UserError(f"'paper' has {row!r} for '{label}' where metrics and their numbers belong")
    return told
