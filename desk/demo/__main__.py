"""`python -m desk.demo` is `saga demo`."""

import sys

from desk.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
