"""The `patchvsr` command."""
from __future__ import annotations

import argparse
import sys

from patchvsr import __version__, cli_upscale
from patchvsr.errors import UserError

EXAMPLES = """examples:
  patchvsr upscale phone.mp4 phone-4k.mp4 --scale 3
  patchvsr upscale --help                    sizes, codecs, parts of a video, going on after an interruption
  patchvsr variants                          what can be composed and compared
  patchvsr variants full:steps=4,tiling=shifted,modulation=independent
  patchvsr weights                           third-party weights: what is here, where the rest comes from
  python -m benchmarks.run --suite 4k --variants full,no_global,no_pos
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="patchvsr",
        description="Patch-wise video super-resolution with a video diffusion prior.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"patchvsr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    cli_upscale.add_to(commands)
    variants = commands.add_parser("variants", help="list the variants, or print one resolved")
    variants.add_argument("variant", nargs="?", help="a name, with overrides if you like: full:steps=4")
    weights = commands.add_parser("weights", help="list third-party weights, or fetch some")
    weights.add_argument("action", nargs="?", choices=["list", "fetch"], default="list")
    weights.add_argument("names", nargs="*", help="with fetch: names as listed")
    return parser


def show_variants(text: str | None) -> None:
    """Print one line per variant, or one variant's resolved spec as YAML."""
    from patchvsr.variants import description, resolve, variant_names

    if text is None:
        names = variant_names()
        width = max(map(len, names))
        for name in names:
            print(f"{name:<{width}}  {description(name)}")
        return
    import yaml

    spec = resolve(text)
    print(yaml.safe_dump(spec.to_dict() | {"arm": spec.arm, "sha256": spec.sha256()}, sort_keys=False), end="")


def show_weights(action: str, names: list[str]) -> None:
    """List the known third-party weights, or fetch the named ones into the cache."""
    from patchvsr import weights

    if action == "fetch":
        if not names:
            raise UserError("weights fetch needs names; `patchvsr weights` lists them")
        for name in (member for family in names for member in weights.names_of(family)):
            print(f"{name}: {weights.ensure(name)}")
        return
    for row in weights.status():
        here = f"{row.size / 2**20:.0f} MiB in the cache" if row.present else "not here yet"
        print(f"{row.name:<12} {here:<22} {row.licence:<14} from {row.source}")
    print(f"cache: {weights.cache_dir()}; fetch with: patchvsr weights fetch NAME")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when done, 2 with one sentence on stderr for bad input, 130 when interrupted."""
    args = parser().parse_args(argv)
    try:
        if args.command == "upscale":
            return cli_upscale.run(args)
        if args.command == "variants":
            show_variants(args.variant)
        else:
            show_weights(args.action, args.names)
    except UserError as error:
        print(f"patchvsr: {error}", file=sys.stderr)
        return 2
    return 0
