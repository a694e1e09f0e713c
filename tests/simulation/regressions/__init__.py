"""One file for each thing that a simulation found, with its story."""
