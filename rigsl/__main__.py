"""`python -m rigsl`."""

import sys

from rigsl.cli.main import main
from rigsl.redaction import redact_tracebacks

if __name__ == "__main__":
    redact_tracebacks()
    sys.exit(main())
