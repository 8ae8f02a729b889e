"""`python -m extract`, the same as `perps`."""

import sys

from extract.cli.main import main

sys.exit(main())
