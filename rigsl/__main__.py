"""`python -m rigsl`."""

import sys

from rigsl.cli import main

if __name__ == "__main__":
    sys.exit(main())
