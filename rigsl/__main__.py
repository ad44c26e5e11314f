"""`python -m rigsl`."""

import sys

from rigsl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
