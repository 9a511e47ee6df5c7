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
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from benchmarks.suites import suite_name
from patchvsr.errors import UserError, nearest
from patchvsr.notation import split_list
from patchvsr.registry import Registry

Expectation = Literal["better", "worse", "different", "equivalent", "not_worse"]
Training = Literal["equal", "inference"]
NEED_MARGIN = ("equivalent", "not_worse")

studies: Registry[Path] = Registry("studies")
for _file in sorted((Path(__file__).parent / "studies").glob("*.yaml")):
    studies.register(_file.stem)(_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A variant of the study under a short name."""

    label: str
    variant: str


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
        data, metrics, claims: see `Data`, `benchmarks.metrics` and `Claim`.
        notes: sentences that belong beside the results.
    """

    name: str
    title: str
    question: str
    base: str
    arms: tuple[Arm, ...]
    baselines: tuple[str, ...]
    training: Training
    data: tuple[Data, ...]
    metrics: tuple[str, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]

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
    "labels": dict, "baselines": list, "training": str, "data": list, "metrics": list, "claims": list, "notes": list,
}  # fmt: skip
_NEEDED = ("title", "question", "base", "training", "data", "metrics")
_DATA = ("suite", "lq", "gt", "data_root", "degradation", "scale", "frames", "clips")


def find_study(text: str) -> Path:
    """The file of a study by its name, or the path itself.

    Raises:
        UserError: neither.
    """
    if text.endswith((".yaml", ".yml")):
        path = Path(text)
        if not path.is_file():
            raise UserError(f"there is no study file '{text}'; give the path of a YAML file, or one of {_names()}")
        return path
    if text not in studies:
        raise UserError(f"unknown study '{text}'{nearest(text, studies.names())}; or give the path of a YAML file")
    return studies.get(text)


def _names() -> str:
    return ", ".join(studies.names())


def read_study(path: Path) -> Study:
    """Read and check a study's file.

    Raises:
        UserError: it cannot be read, lacks or has a key that it must or must not, an arm cannot be resolved, or a claim
            names an arm or a metric that the study has not.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} must be a mapping with the keys {', '.join(_NEEDED)}")
    try:
        return _study(path.stem, data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _study(name: str, data: dict[str, Any]) -> Study:
    _check_keys(data)
    labels = {str(text): str(label) for text, label in data.get("labels", {}).items()}
    arms = tuple(Arm(label=labels.pop(text, label), variant=text) for label, text in _arms(data))
    if labels:
        raise UserError(f"labels names '{next(iter(labels))}', which is no arm of the study; the arms are "
                        f"{', '.join(arm.variant for arm in arms)}")  # fmt: skip
    known = [arm.label for arm in arms]
    if twice := {label for label in known if known.count(label) > 1}:
        raise UserError(f"the label '{twice.pop()}' stands for two arms; name each with labels")
    base = next((arm.label for arm in arms if data["base"] in (arm.label, arm.variant)), None)
    if base is None:
        raise UserError(f"the base '{data['base']}' is no arm; the arms are {', '.join(known)}")
    if data["training"] not in get_args(Training):
        raise UserError(f"training is '{data['training']}'; write equal (arms have weights of their own, trained "
                        "alike) or inference (they share weights)")  # fmt: skip
    if twice := {arm.variant for arm in arms if sum(other.variant == arm.variant for other in arms) > 1}:
        raise UserError(f"the variant '{twice.pop()}' stands for two arms; leave one out")
    metrics = tuple(map(str, data["metrics"]))
    baselines = tuple(_single(text) for text in data.get("baselines", []))
    if twice := {name for name in baselines if [*known, *(arm.variant for arm in arms), *baselines].count(name) > 1}:
        raise UserError(f"the baseline '{twice.pop()}' is there twice; leave one out")
    entries = tuple(_data(entry) for entry in data["data"])
    if twice := {one.label for one in entries if sum(other.label == one.label for other in entries) > 1}:
        raise UserError(f"two entries of data are called '{twice.pop()}'; give each a label")
    claims = tuple(_claim(entry, base, [*known, *baselines], metrics) for entry in data.get("claims", []))
    return Study(
        name=name,
        title=data["title"],
        question=data["question"],
        base=base,
        arms=arms,
        baselines=baselines,
        training=data["training"],
        data=entries,
        metrics=metrics,
        claims=claims,
        notes=tuple(map(str, data.get("notes", []))),
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


def _arms(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and variant of each arm; what does not go together is an error unless `skip` names it."""
    from patchvsr.variants import resolve

    if "arms" in data:
        listed = data["arms"]
        named = listed if isinstance(listed, dict) else {_single(text): text for text in listed}
        if len(named) < len(listed):
            raise UserError("an arm is listed twice; leave one out")
        pairs = [(str(label), _single(text)) for label, text in named.items()]
    else:
        pairs = [(text, text) for text in _grid(data["base"], data.get("axis") or data["grid"])]
    skip = list(map(str, data.get("skip", [])))
    if unknown := [text for text in skip if text not in [variant for _, variant in pairs]]:
        raise UserError(f"skip names '{unknown[0]}', which is no arm of the study")
    kept = [(label, text) for label, text in pairs if text not in skip]
    for _, text in kept:
        try:
            resolve(text)
        except UserError as error:
            raise UserError(f"the arm '{text}' is not possible ({error}); put it under skip, or mend it") from error
    return kept


def _single(text: Any) -> str:
    """One variant or baseline, spelt as records spell it."""
    if not isinstance(text, str) or len(found := split_list(text)) != 1:
        raise UserError(f"{text!r} stands where one variant belongs, such as full or full:steps=2")
    return found[0]


def _grid(base: str, fields: dict[str, Any]) -> list[str]:
    """The base, then the base with every combination of the fields' values."""
    for field, values in fields.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"'{field}' needs a list of values, not {values!r}")
    joint = "," if ":" in base else ":"
    texts = [
        base + joint + ",".join(f"{field}={_text(value)}" for field, value in zip(fields, values, strict=True))
        for values in product(*fields.values())
    ]
    return list(dict.fromkeys([base, *(_shortest(base, text) for text in texts)]))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortest(base: str, text: str) -> str:
    """The base's own name for what the base is already."""
    from patchvsr.variants import resolve

    try:
        return base if resolve(text).sha256() == resolve(base).sha256() else text
    except UserError:
        return text  # told of where arms are checked


def _claim(entry: Any, base: str, labels: list[str], metrics: tuple[str, ...]) -> Claim:
    if not isinstance(entry, dict) or not {"arm", "metric", "expect"} <= set(entry):
        raise UserError(f"the claim {entry!r} needs arm, metric and expect")
    if unknown := set(entry) - {"arm", "against", "metric", "expect", "margin"}:
        raise UserError(f"the claim {entry!r} has the unknown key '{unknown.pop()}'")
    margin = entry.get("margin")
    if margin is not None and (type(margin) not in (int, float) or not isfinite(margin)):
        raise UserError(f"the margin {margin!r} of a claim is not a number")
    words = {key: str(value) for key, value in entry.items() if key != "margin"}
    claim = Claim(**{"against": base, **words, "margin": margin})  # type: ignore[arg-type]
    for label in (claim.arm, claim.against):
        if label not in labels:
            raise UserError(f"a claim names the arm '{label}', which the study has not{nearest(label, labels)}")
    if claim.metric not in metrics:
        raise UserError(f"a claim is about '{claim.metric}', which the study does not measure; add it to metrics")
    if claim.expect not in get_args(Expectation):
        raise UserError(f"a claim expects '{claim.expect}'{nearest(str(claim.expect), get_args(Expectation))}")
    needs = claim.expect in NEED_MARGIN
    if needs != (claim.margin is not None) or (needs and not (claim.margin or 0) > 0):
        raise UserError(f"the claim {entry!r} needs a margin above 0 with {' and '.join(NEED_MARGIN)}, and none else")
    if claim.arm == claim.against:
        raise UserError(f"the claim {entry!r} compares '{claim.arm}' with itself; name another arm under against")
    return claim


def _data(entry: Any) -> Data:
    if not isinstance(entry, dict):
        raise UserError(f"the entry {entry!r} of data must be a mapping such as {{suite: 4k, frames: 2}}")
    for key in entry:
        if key not in ("label", *_DATA):
            raise UserError(f"data has the unknown key '{key}'{nearest(str(key), ('label', *_DATA))}")
    options = {key: value for key, value in entry.items() if key != "label"}
    if not {"suite", "lq", "gt"} & set(options):
        raise UserError(f"the entry {entry!r} of data needs a suite, an lq, or a gt with a degradation")
    clips = options.get("clips", [])
    if not isinstance(clips, str) and not (isinstance(clips, list) and all(isinstance(clip, str) for clip in clips)):
        raise UserError(f"clips of data is {clips!r}; it must be names of clips, numbers in quotes")
    return Data(label=str(entry.get("label") or data_label(options)), options=options)


def data_label(options: Mapping[str, Any]) -> str:
    """A short name for clips: the suite or folder, with scale and degradation where these are given."""
    suite = options.get("suite")
    place = suite_name(str(suite)) if suite else Path(str(options.get("lq") or options["gt"])).resolve().name
    scale = f"x{options['scale']:g}" if options.get("scale") else ""
    return "-".join(str(part) for part in (place, scale, options.get("degradation")) if part)
