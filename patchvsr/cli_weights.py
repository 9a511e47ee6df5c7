"""`patchvsr weights`: what is known and here, fetching, verifying, and where files lie."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from patchvsr.errors import UserError

EXAMPLES = """examples:
  patchvsr weights                                 what is here, and where the rest comes from
  patchvsr weights fetch lpips niqe                a family name stands for all of its members
  patchvsr weights fetch musiq --from musiq_koniq_ckpt-e95806b9.pth
                                                   a file that you have, checked like a download
  patchvsr weights verify                          read and hash everything that is here
"""


def add_to(commands: Any) -> None:
    """Add the subcommand."""
    made = commands.add_parser(
        "weights",
        help="list weights, fetch some, verify them",
        description="Weights: those of this package, and third-party ones, which are fetched only when you say so.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = made.add_subparsers(dest="action", metavar="{list,fetch,verify,path}")
    actions.add_parser("list", help="what is known, and whether it is here (the default)")
    fetch = actions.add_parser("fetch", help="put weights into the cache")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="names or families as listed")
    fetch.add_argument(
        "--from", dest="file", metavar="FILE", type=Path, help="the original file of one NAME, in place of downloading"
    )
    verify = actions.add_parser("verify", help="read weights and compare their hashes")
    verify.add_argument("names", nargs="*", metavar="NAME", help="names or families (default: all that are here)")
    path = actions.add_parser("path", help="print where the files of weights lie")
    path.add_argument("names", nargs="+", metavar="NAME", help="names or families as listed")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 0 when done, 1 when some weights could not be fetched or are damaged.

    Raises:
        UserError: bad input.
    """
    if args.action == "fetch":
        return fetch(args.names, args.file)
    if args.action == "verify":
        return verify(args.names)
    if args.action == "path":
        return show_paths(args.names)
    return show_list()


def show_list() -> int:
    """Print one line per set of weights."""
    from patchvsr import weights

    rows = weights.status()
    wide = max(len(row.name) for row in rows)
    licence = max(len(row.licence) for row in rows)
    for row in rows:
        print(
            f"{row.name:{wide}}  {_state(row.kind, row.present, row.size):22}  {row.kind:8}  {row.licence:{licence}}  "
            f"{row.purpose}; from {row.source}"
        )
    print(f"cache: {weights.cache_dir()}; fetch with: patchvsr weights fetch NAME")
    return 0


def fetch(families: list[str], file: Path | None) -> int:
    """Put the named weights into the cache; what fails is told, and the rest is fetched all the same.

    Raises:
        UserError: no or unknown names, or one file for several.
    """
    from patchvsr import weights

    if not families:
        raise UserError("weights fetch needs names; `patchvsr weights` lists them")
    failed = 0
    for name in _members(families) if file is None else _one(families):
        if file is None and not weights.present(name):
            print(f"{name}: fetching", file=sys.stderr)
        try:
            print(f"{name}: {weights.fetch(name, file)}")
        except UserError as error:
            failed += 1
            print(f"patchvsr: {error}", file=sys.stderr)
    return 1 if failed else 0


def verify(families: list[str]) -> int:
    """Print one line per set of weights, and at the end who is not whole and what to do.

    Raises:
        UserError: unknown names.
    """
    from patchvsr import weights

    shipped = {row.name for row in weights.status() if row.kind == "packaged"}
    wrong: dict[str, list[str]] = {}
    for verdict in weights.verify(_members(families) if families else None):
        print(f"{verdict.name}: {verdict.problem or 'whole'}", flush=True)
        if verdict.problem is not None:
            state = "damaged" if weights.present(verdict.name) else "absent"
            wrong.setdefault("not whole" if verdict.name in shipped else state, []).append(verdict.name)
    for state, names in wrong.items():
        again = f"run `patchvsr weights fetch {' '.join(names)}`"
        remedy = {"damaged": f"delete the files named above and {again}", "absent": again}
        print(
            f"patchvsr: {state}: {', '.join(names)}; {remedy.get(state, 'install patchvsr itself again')}",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def show_paths(families: list[str]) -> int:
    """Print one path per line.

    Raises:
        UserError: unknown names, or weights that are not here.
    """
    from patchvsr import weights

    names = _members(families, exact=True)
    if absent := [name for name in names if not weights.present(name)]:
        raise UserError(f"not here: {', '.join(absent)}; run `patchvsr weights fetch {' '.join(absent)}`")
    for name in names:
        print(weights.path_of(name))
    return 0


def _state(kind: str, present: bool, size: int) -> str:
    if not present:
        return "absent"
    shown = f"{size / 2**20:.0f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
    return f"{'packaged' if kind == 'packaged' else 'in the cache'}, {shown}"


def _members(families: list[str], exact: bool = False) -> list[str]:
    """All members of the families, each once; with `exact` a full name does not stand for a family of that name too."""
    from patchvsr import weights

    names = []
    for family in families:
        members = weights.names_of(family)
        names += [family] if exact and family in members else members
    return list(dict.fromkeys(names))


def _one(families: list[str]) -> list[str]:
    """The one set of weights that a file can be."""
    names = _members(families, exact=True)
    if len(names) > 1:
        raise UserError(f"--from gives one file, and these are several weights: {', '.join(names)}; name one of them")
    return names
