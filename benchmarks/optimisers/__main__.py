"""``python -m benchmarks.optimisers``."""

import sys

from benchmarks.optimisers.command import main

if __name__ == "__main__":
    sys.exit(main())
