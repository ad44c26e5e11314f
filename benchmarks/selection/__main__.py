"""``python -m benchmarks.selection``."""

import sys

from benchmarks.selection.command import main

if __name__ == "__main__":
    sys.exit(main())
