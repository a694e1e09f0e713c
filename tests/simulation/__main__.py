"""The command: `python -m tests.simulation --seeds N --from K [--json] [--trace SEED] [--jobs J]`.

The exit status is 0 only if no invariant broke and, in a run of at least 2,000 seeds, every fault
struck at least once: a run in which nothing went wrong shows nothing.
"""

import sys

from tests.simulation.command import main

sys.exit(main(sys.argv[1:]))
