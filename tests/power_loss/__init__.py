"""What a power failure may leave of a store, at every single operation on its files."""
