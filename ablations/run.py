"""`python -m ablations.run STUDY`: run a study's arms beside each other, and say which claims the evidence supports.

STUDY is a name (`--list`) or the path of a YAML file. Runs go through `benchmarks.run`, so the same command goes on
after an interruption, and outputs of other runs are used again. Exit code 0: the claims were tested, whatever came out.
1: an item failed, so they were not. 2: the study cannot be run, and nothing was.
"""
from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from ablations.claims import Values
    from ablations.study import Data, Study

PASSED = ("device", "dtype", "executor", "address", "task", "progress", "mlflow")
SWITCHES = ("fetch", "no_cache", "no_mlflow", "retry_failed")
PLACES = ("suite", "lq", "gt", "data_root", "degradation", "scale")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m ablations.run", description=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m ablations.run modulation --suite 4k --frames 2 --out runs/studies/modulation",
    )  # fmt: skip
    made.add_argument("study", nargs="?", metavar="STUDY", help="a study by name, or the path of a YAML file")
    made.add_argument("--list", action="store_true", help="name the studies, and stop")
    made.add_argument("--out", type=Path, metavar="DIR", help="default: runs/studies/STUDY; gone on with")
    made.add_argument("--dry-run", action="store_true", help="say what would be run, and stop")
    made.add_argument("--without", metavar="LABELS", default="", help="leave these arms out; the results say so")
    made.add_argument("--interval", choices=("t", "bootstrap"), default="t", help="of differences (default: t)")
    place = made.add_argument_group("clips, in place of the study's own (as in benchmarks.run)")
    for name in PLACES:
        place.add_argument(f"--{name.replace('_', '-')}", metavar=name.upper())
    place.add_argument("--frames", metavar="N", help="frames of each clip; alone, of the study's own clips")
    place.add_argument("--clips", metavar="LIST", help="only these clips; alone, of the study's own")
    made.add_argument("--metrics", metavar="LIST", help="in place of the study's; claims about others are left out")
    training = made.add_argument_group("training")
    training.add_argument("--train", action="store_true", help="train every arm afresh, all alike, before comparing")
    training.add_argument("--data", type=Path, metavar="DIR", help="what to train on: a folder of videos and stills")
    training.add_argument("--budget", metavar="B", help="steps=N of each arm, or minutes=M in all (default: as nano)")
    training.add_argument("--seeds", metavar="LIST", help="a training of every arm for each (default: 0)")
    run = made.add_argument_group("passed on to benchmarks.run")
    run.add_argument("--jobs", metavar="N")
    for name in PASSED:
        run.add_argument(f"--{name.replace('_', '-')}")
    for name in SWITCHES:
        run.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = parser().parse_args(arguments)
    try:
        if args.list:
            print(_listing())
            return 0
        if args.study is None:
            raise UserError("name a study, such as 'modulation'; --list names them")
        return _run(args, arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished item", file=sys.stderr)
        return 130


def _listing() -> str:
    from ablations.study import read_study, studies

    found = [read_study(studies.get(name)) for name in studies.names()]
    return "\n".join(f"{study.name:<22} {study.question}" for study in found)


def _run(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from ablations.claims import conclusion, judge, untestable
    from ablations.result import forget, write_result
    from ablations.study import find_study, read_study
    from benchmarks.compare import read

    study, left_out = _chosen(args, read_study(find_study(args.study)))
    out: Path = args.out or Path("runs") / "studies" / study.name
    arms = _weighted(args, study, out)
    texts = [*(text for each in arms.values() for text in each), *study.baselines]
    runs = {data.label: out / data.label for data in study.data}
    if not args.dry_run:
        forget(out)  # what an earlier run found is not of these items
    failed = False
    for data in study.data:
        failed |= _benchmark(args, data, texts, study.metrics, runs[data.label])
    if args.dry_run:
        return 0
    if failed:
        print("an item failed, so no claim was tested; --retry-failed runs it again", file=sys.stderr)
        return 1
    values: dict[str, Values] = {}
    spread: dict[str, dict[str, dict[str, float]]] = {}
    for label, path in runs.items():
        values[label], spread[label] = _values(read([path]), arms, study)
    findings = judge(study.claims, values, args.interval)
    study = replace(study, notes=(*study.notes, *(
        f"Not tested on {label}: {claim}; no clip there has '{claim.metric}'."
        for label, claim in untestable(study.claims, values)
    )))  # fmt: skip
    command = f"python -m ablations.run {shlex.join(arguments)}"
    write_result(out, study, arms, left_out, runs, findings, spread, command)
    lines = ["", study.title, study.question, *(f"- {one.sentence}" for one in findings)]
    lines += [*(f"- {note}" for note in study.notes), *(f"- Left out: {label}." for label in left_out)]
    lines.append(conclusion(findings))
    lines.append(f"{out}: study.json claims.md; tables and figures: python -m reports.build {out} --out DIR")
    print("\n".join(lines))
    return 0


def _labels(text: str, study: Study) -> list[str]:
    """The labels in a list with commas, which labels may have themselves."""
    parts, found = [part.strip() for part in text.split(",") if part.strip()], []
    while parts:
        lengths = range(len(parts), 0, -1)
        known = [length for length in lengths if ",".join(parts[:length]) in study.labels]
        if not known:
            raise UserError(f"--without names '{parts[0]}', which is no arm; the study has {', '.join(study.labels)}")
        found.append(",".join(parts[: known[0]]))
        parts = parts[known[0] :]
    return found


def _chosen(args: argparse.Namespace, study: Study) -> tuple[Study, list[str]]:
    """The study with the command line's clips, metrics and omissions, and the labels that are left out."""
    from ablations.study import Data, data_label

    left_out = _labels(args.without, study)
    if study.base in left_out:
        raise UserError(f"--without cannot leave out '{study.base}', which the study compares with")
    metrics = tuple(args.metrics.split(",")) if args.metrics else study.metrics
    place = {name: value for name in PLACES if (value := getattr(args, name)) is not None}
    if "scale" in place:
        try:
            place["scale"] = float(place["scale"])
        except ValueError as error:
            raise UserError(f"--scale {place['scale']} is not a number") from error
    if place and not {"suite", "lq", "gt"} & set(place):
        raise UserError(f"--{next(iter(place)).replace('_', '-')} goes with --suite, --lq or --gt; name the clips, too")
    kept = [c for c in study.claims if c.metric in metrics and not {c.arm, c.against} & set(left_out)]
    untested = tuple(f"Not tested in this run: {claim}." for claim in study.claims if claim not in kept)
    entries = (Data(label=data_label(place), options=place),) if place else study.data
    narrowed = {name: value for name in ("frames", "clips") if (value := getattr(args, name)) is not None}
    return (
        replace(
            study,
            arms=tuple(arm for arm in study.arms if arm.label not in left_out),
            baselines=tuple(name for name in study.baselines if name not in left_out),
            metrics=metrics,
            data=tuple(replace(entry, options={**entry.options, **narrowed}) for entry in entries),
            claims=tuple(kept),
            notes=(*study.notes, *untested),
        ),
        left_out,
    )


def _weighted(args: argparse.Namespace, study: Study, out: Path) -> dict[str, list[str]]:
    """Label of each arm to its variants, trained if that was asked for.

    Raises:
        UserError: an arm without trained weights, or options that do not fit.
    """
    from ablations.training import Budget, train, untrained, with_weights

    if not args.train:
        if given := [f"--{name}" for name in ("data", "budget", "seeds") if getattr(args, name) is not None]:
            raise UserError(f"{given[0]} is about training, and nothing is to be trained; add --train, or leave it out")
        if lacking := untrained(study.arms):
            names = ",".join(arm.label for arm in lacking)
            raise UserError(
                f"there are no trained weights for {names}; have all arms trained alike with --train --data DIR, or "
                f"leave these out with --without {names}"
            )
        return {arm.label: [arm.variant] for arm in study.arms}
    if study.training == "inference":
        raise UserError("this study's arms share the weights of its base, so there is nothing to train: no --train")
    if args.data is None:
        raise UserError("--train needs --data DIR, a folder of videos and stills")
    try:
        seeds = [int(seed) for seed in (args.seeds or "0").split(",")]
    except ValueError as error:
        raise UserError(f"--seeds {args.seeds} is not a list of whole numbers, such as 0,1,2") from error
    budget = Budget.of(args.budget)
    if args.dry_run:
        print(f"would train {', '.join(study.labels[: len(study.arms)])} with seeds {args.seeds or 0}", file=sys.stderr)
        return {arm.label: [arm.variant] for arm in study.arms}
    weights = train(study.arms, seeds, args.data, out / "training", budget)
    return {arm.label: [with_weights(arm.variant, file) for file in weights[arm.label]] for arm in study.arms}


def _benchmark(
    args: argparse.Namespace, data: Data, variants: Sequence[str], metrics: Sequence[str], out: Path
) -> bool:
    """Run one set of clips; whether something failed.

    Raises:
        UserError: the run cannot be made; `benchmarks.run` has said why.
    """
    from benchmarks import run

    words = ["--variants", ",".join(variants), "--metrics", ",".join(metrics), "--out", str(out)]
    for name, value in data.options.items():
        words += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, list) else str(value)]
    for name in ("jobs", *PASSED):
        if (value := getattr(args, name)) is not None:
            words += [f"--{name.replace('_', '-')}", value]
    words += [f"--{name.replace('_', '-')}" for name in SWITCHES if getattr(args, name)]
    code = run.main([*words, *(["--dry-run"] if args.dry_run else [])])
    if code == 130:
        raise KeyboardInterrupt
    if code not in (0, 1):
        raise UserError(f"the clips '{data.label}' could not be run (see above); the study stops there")
    return code == 1


def _mean(values: Mapping[str, float]) -> float:
    """Over sources, each of which counts once."""
    from benchmarks.compare import source_of

    by_source: dict[str, list[float]] = {}
    for clip, value in values.items():
        by_source.setdefault(source_of(clip), []).append(value)
    return fmean(fmean(each) for each in by_source.values())


def _values(
    found: Mapping[str, Mapping[str, Mapping[str, float | None]]], arms: Mapping[str, Sequence[str]], study: Study
) -> tuple[Values, dict[str, dict[str, float]]]:
    """Metric, label and clip to the mean over seeds; and label and metric to the spread of the seeds' means."""
    from benchmarks.compare import defined

    texts = {**arms, **{name: [name] for name in study.baselines}}
    values: dict[str, dict[str, dict[str, float]]] = {}
    spread: dict[str, dict[str, float]] = {}
    for metric, by_variant in found.items():
        for label, each in texts.items():
            seeds = [defined(dict(by_variant.get(text, {}))) for text in each]
            clips = set(seeds[0])
            if any(set(one) != clips for one in seeds):
                raise UserError(f"the seeds of '{label}' do not have '{metric}' on the same clips; complete the run")
            values.setdefault(metric, {})[label] = {clip: fmean(one[clip] for one in seeds) for clip in sorted(clips)}
            if len(seeds) > 1 and clips:
                spread.setdefault(label, {})[metric] = stdev(_mean(one) for one in seeds)
    return values, spread


if __name__ == "__main__":
    sys.exit(main())
