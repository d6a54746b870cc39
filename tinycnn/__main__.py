"""`python -m tinycnn` is the same as the command `tinycnn`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
