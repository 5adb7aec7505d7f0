"""`python -m gradxform`."""

import sys

from gradxform.race._cli import main

if __name__ == "__main__":
    sys.exit(main())
