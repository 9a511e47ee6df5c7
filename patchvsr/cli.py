"""The `patchvsr` command."""
from __future__ import annotations

import argparse
import sys

from patchvsr import __version__, cli_upscale, cli_weights
from patchvsr.errors import UserError

EXAMPLES = """examples:
  patchvsr upscale phone.mp4 phone-4k.mp4 --scale 3
  patchvsr upscale --help                    sizes, codecs, parts of a video, going on after an interruption
  patchvsr variants                          what can be composed and compared
  patchvsr variants full:steps=4,tiling=shifted,modulation=independent
  patchvsr weights                           weights: what is here, where the rest comes from
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
    cli_weights.add_to(commands)
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


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when done, 1 when a part failed, 2 with one sentence for bad input, 130 when interrupted."""
    args = parser().parse_args(argv)
    try:
        if args.command == "upscale":
            return cli_upscale.run(args)
        if args.command == "weights":
            return cli_weights.run(args)
        show_variants(args.variant)
    except UserError as error:
        print(f"patchvsr: {error}", file=sys.stderr)
        return 2
    return 0
