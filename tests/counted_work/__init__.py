"""Work that is counted, not timed: a guard that does not depend on the machine."""
