"""The checkpoint store: its protocol, and the stores that keep it."""
