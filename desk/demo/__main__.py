"""`python -m desk.demo` is `saga demo`."""

import sys

from desk.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "demo")
    sys.exit(main())
