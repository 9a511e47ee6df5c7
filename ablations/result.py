"""What a study has found, as `study.json` keeps it and reports read it."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ablations.claims import Finding, conclusion
from ablations.study import Study
from benchmarks.environment import package_versions
from benchmarks.store import to_json, write_atomic
from patchvsr.errors import UserError

NAME = "study.json"
Spread = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """A study that was run.

    Attributes:
        path: of `study.json`.
        name, title, question, base, training, notes: of the study.
        metrics: that it asked for.
        arms: label to its variants as typed, one for each seed of training.
        baselines: that ran beside the arms.
        left_out: labels of arms that were left out on request.
        weights: variant to the `status` of its weights and the `sha256` of each file; empty in files of old.
        runs: set of clips to its run directory.
        findings: claims with what was found, as written (`sentence`, `outcome`, `claim`, ...).
        conclusion: one sentence.
        spread: set of clips to label to metric to the standard deviation of the mean over several seeds of training.
        command: what was typed.
    """

    path: Path
    name: str
    title: str
    question: str
    base: str
    training: str
    notes: Sequence[str]
    metrics: Sequence[str]
    arms: Mapping[str, Sequence[str]]
    baselines: Sequence[str]
    left_out: Sequence[str]
    runs: Mapping[str, Path]
    findings: Sequence[Mapping[str, Any]]
    conclusion: str
    spread: Spread
    command: str
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """Variant as typed to the label of its arm."""
        return {text: label for label, texts in self.arms.items() for text in texts}


def write_result(
    out: Path, study: Study, arms: Mapping[str, Sequence[str]], left_out: Sequence[str], runs: Mapping[str, Path],
    findings: Sequence[Finding], spread: Spread, command: str,
) -> None:  # fmt: skip
    """Write `study.json`, and `claims.md` for readers, into `out`."""
    whole = study.to_dict()
    data = {
        **{name: whole[name] for name in ("name", "title", "question", "base", "training", "notes", "metrics")},
        "baselines": list(study.baselines),
        "arms": {label: list(texts) for label, texts in arms.items()},
        "left_out": list(left_out),
        "weights": _weights(runs.values()),
        "runs": {label: str(path.relative_to(out)) for label, path in runs.items()},
        "findings": [_finite(asdict(one)) for one in findings],
        "conclusion": conclusion(findings),
        "spread": spread,
        "command": command,
        "packages": package_versions(["patchvsr", "torch", "diffusers"]),
    }
    write_atomic(out / NAME, to_json(data))
    write_atomic(out / "claims.md", _markdown(study, left_out, findings, command))


def _weights(runs: Iterable[Path]) -> dict[str, Any]:
    """Variant to the status of its weights and the hash of each of their files, as its runs have them."""
    described = (json.loads((run / "run.json").read_text(encoding="utf-8")) for run in runs)
    return {variant["variant"]: variant["weights"] for one in described for variant in one["variants"]}


def forget(out: Path) -> None:
    """Remove what a study found before, so that it cannot be taken for what a later run finds."""
    for name in (NAME, "claims.md"):
        (out / name).unlink(missing_ok=True)


def _finite(data: Any) -> Any:
    """JSON has no NaN: an interval of one source is null."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return None if isinstance(data, float) and data != data or data in (float("inf"), float("-inf")) else data


def _markdown(study: Study, left_out: Sequence[str], findings: Sequence[Finding], command: str) -> str:
    lines = [f"# {study.title}", "", study.question, "", f"**{conclusion(findings)}**", ""]
    lines += [f"- {one.sentence}" for one in findings]
    lines += [f"- {note}" for note in study.notes]
    lines += [f"- Left out: `{label}`." for label in left_out]
    return "\n".join([*lines, "", "```sh", command, "```", ""])


def read_study_result(path: Path) -> StudyResult:
    """Read `study.json`, given itself or its folder.

    Raises:
        UserError: it is not there, damaged, or a run directory of it is gone.
    """
    file = path / NAME if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        runs = {label: file.parent / where for label, where in data.pop("runs").items()}
        data.pop("packages")
        result = StudyResult(path=file, runs=runs, **data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"'{file}' cannot be read ({error!r}); run the study again") from error
    for where in result.runs.values():
        if not (where / "run.json").is_file():
            raise UserError(f"the run '{where}' of study '{result.name}' is gone; run the study again")
    return result
