"""`python -m tinycnn.cli`: the console command without its script."""

import sys

from . import main

sys.exit(main())
