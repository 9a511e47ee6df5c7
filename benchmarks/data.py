"""`python -m benchmarks.data list|verify|prepare`: the suites' data: what is expected, whether it is there and whole.

list: every suite in a line; with a suite's name, what belongs where, how to get it and under which licence. verify:
reads every frame of a suite in a data root and says exactly what is missing, damaged or changed. prepare: verifies,
makes the low-resolution frames that the protocol defines by a degradation, and keeps all checksums in the cache.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchvsr.errors import UserError

if TYPE_CHECKING:
    from benchmarks.suites.clip import SuiteClip
    from benchmarks.suites.definition import Definition


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.splitlines()[0])
    made.add_argument("command", choices=["list", "verify", "prepare"])
    made.add_argument("suite", nargs="?", help="a suite's name or YAML file; verify and prepare need one")
    made.add_argument("--data-root", type=Path, metavar="DIR", help="where the data lies (verify, prepare)")
    return made


def overview() -> Iterator[str]:
    """Every suite in a line."""
    from benchmarks.suites import definition_of, suites

    wide = max(len(name) for name in suites.names())
    for name in suites.names():
        suite = definition_of(name)
        needs = "needs no data" if suite is None or suite.embedded else "needs --data-root"
        yield f"{name:{wide}}  {needs:17}  {'made by a function' if suite is None else suite.description}"
    yield "more of one with: python -m benchmarks.data list NAME"


def details(suite: Definition) -> Iterator[str]:
    """What belongs to a suite, where a data root may keep it, how to get it."""
    from benchmarks.suites.dataset import OWN

    yield suite.description
    for label, text in (("paper", suite.paper), ("get it", suite.get), ("licence", suite.licence)):
        if text:
            yield f"{label}: {' '.join(text.split())}"
    made = f"made from GT by '{suite.degradation}' where the data root has none" if suite.degradation else "part of it"
    yield f"scale: {suite.scale:g}; input: {made}"
    yield "clips:"
    if not suite.clips:
        yield f"  {suite.count or 'any number'}: {_facts(suite.each)}"
    for entry in suite.clips:
        facts = {key: getattr(entry, key) for key in ("frames", "width", "height") if getattr(entry, key)}
        kind = "" if entry.kind == "dataset" else f" (embedded, {entry.kind})"
        yield f"  {entry.name}: {_facts(facts)}{kind}"
    yield "in DIR, which --data-root names, at the first of these that is there (folders of images, or videos):"
    for layout in (OWN, *suite.layouts):
        sides = {"GT": layout.gt if suite.gt else None, "LQ": layout.lq}
        shown = [f"{side} {path.replace('{suite}', suite.suite)}" for side, path in sides.items() if path]
        yield f"  {', '.join(shown)}"
    yield "checksums: none are published; prepare keeps those of your copy, and verify compares with them"


def _facts(facts: dict[str, int]) -> str:
    frames = f"{facts['frames']} frames" if "frames" in facts else "frames as they come"
    return frames + (f" of {facts['width']}x{facts['height']}" if "width" in facts else "")


def checksums_path(suite: str) -> Path:
    """Where `prepare` keeps a suite's checksums."""
    from benchmarks.suites import suite_name
    from patchvsr.weights import cache_dir

    return cache_dir() / "checksums" / f"{suite_name(suite)}.json"


def read_all(clips: list[SuiteClip]) -> tuple[dict[str, dict[str, str | None]], list[str]]:
    """Read every frame of every clip, past the first that fails.

    Returns:
        Checksums of the frames (`GT`, and `LQ` where it is part of the data) by clip, and a sentence for each clip that
        cannot be read.
    """
    from patchvsr.video import frames_sha256

    found: dict[str, dict[str, str | None]] = {}
    wrong = []
    for clip in clips:
        try:
            gt = clip.gt()
            lq = None if clip.degradation is not None else frames_sha256(clip.lq())
            found[clip.name] = {"GT": None if gt is None else frames_sha256(gt), "LQ": lq}
        except UserError as error:
            wrong.append(f"clip '{clip.name}': {error}")
    return found, wrong


def compare(suite: str, found: dict[str, dict[str, str | None]]) -> list[str]:
    """What differs from the checksums that `prepare` kept; nothing where it has not run."""
    try:
        known = json.loads(checksums_path(suite).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        f"clip '{clip}': {side} is not what it was when it was prepared (its frames' sha256 differs); get it again, "
        f"or delete {checksums_path(suite)} if the change is meant"
        for clip, sides in found.items()
        for side, value in sides.items()
        if value is not None and (known.get(clip) or {}).get(side) not in (None, value)
    ]


def _mismatched(clips: Iterable[SuiteClip]) -> list[str]:
    """A sentence for each clip whose ground truth and input, both as they came, do not show the same."""
    from benchmarks.suites.examine import examine

    wrong = []
    for clip in clips:
        if clip.has_gt and clip.degradation is None:
            try:
                examine(clip, remember=False)
            except UserError as error:
                wrong.append(str(error))
    return wrong


def checked(name: str, data_root: Path | None) -> tuple[list[SuiteClip], dict[str, dict[str, str | None]]]:
    """The clips of a suite with their checksums, every frame read.

    Raises:
        UserError: anything is missing, damaged or changed; all of it is named.
    """
    from benchmarks.suites import definition_of, load_suite

    suite = definition_of(name)
    if data_root is None and suite is not None and not suite.embedded:
        raise UserError(f"suite '{name}' lies in a data root; give --data-root DIR")
    clips = load_suite(name, data_root)
    found, wrong = read_all(clips)
    wrong += compare(name, found)
    wrong += _mismatched(clip for clip in clips if clip.name in found)
    if wrong:
        raise UserError(f"suite '{name}' has {len(wrong)} faults:\n" + "\n".join(f"- {fault}" for fault in wrong))
    return clips, found


def prepare(name: str, data_root: Path | None) -> Iterator[str]:
    """Verify, make the input that a degradation defines, keep the checksums; a line for each clip.

    Raises:
        UserError: as `checked`, or the cache cannot be written.
    """
    from benchmarks.suites.examine import examine
    from patchvsr.weights import cache_dir

    clips, found = checked(name, data_root)
    for clip in clips:
        known = examine(clip)
        made = "input made" if clip.degradation is not None else "input as it came"
        yield f"{clip.name}: {known.frames} frames, {made}, {known.width}x{known.height}, sha256 {known.lq_sha256}"
    path = checksums_path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); set PATCHVSR_CACHE to another folder") from error
    yield f"suite '{name}' is whole and prepared; the cache is {cache_dir()}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 2 with what is wrong on stderr for anything that is not as it should be."""
    args = parser().parse_args(argv)
    try:
        if args.command == "list":
            lines = overview() if args.suite is None else _details_of(args.suite)
        elif args.suite is None:
            raise UserError(f"{args.command} needs a suite's name; `python -m benchmarks.data list` shows them")
        elif args.command == "prepare":
            lines = prepare(args.suite, args.data_root)
        else:
            clips, _ = checked(args.suite, args.data_root)
            lines = iter([f"suite '{args.suite}' is whole: {len(clips)} clips, {sum(c.frames for c in clips)} frames"])
        for line in lines:
            print(line)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _details_of(name: str) -> Iterator[str]:
    from benchmarks.suites import definition_of

    suite = definition_of(name)
    return iter([f"suite '{name}' is made by a function of another package"]) if suite is None else details(suite)


if __name__ == "__main__":
    sys.exit(main())
