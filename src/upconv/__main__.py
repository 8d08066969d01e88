"""`python -m upconv` is the command `upconv`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
