"""`python -m tests.faults.promise`, the same as `make soak`."""

import sys

from tests.faults.promise.soak import main

if __name__ == "__main__":  # not in the workers, which import it too
    sys.exit(main())
