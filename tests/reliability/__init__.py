"""Runs every harness at its full size, keeps what it said, and writes the page from it."""
