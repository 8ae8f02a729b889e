"""`python -m extract`, the same as `perps`."""

import sys

from extract.cli import main

sys.exit(main())
