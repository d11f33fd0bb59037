"""``python -m wsss_nonsalient`` is the console script ``wsss-nonsalient``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
