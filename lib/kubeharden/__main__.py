"""Private. ``python -m kubeharden`` is the command ``kubeharden``."""

import sys

from kubeharden.cli import main

if __name__ == "__main__":
    sys.exit(main())
