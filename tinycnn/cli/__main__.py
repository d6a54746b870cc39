"""`python -m tinycnn.cli` is the same as the command `tinycnn`."""

import sys

from . import main

sys.exit(main())
