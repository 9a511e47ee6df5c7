"""`python -m patchvsr`: the `patchvsr` command, as torchrun starts it."""
import sys

from patchvsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
