"""One side of a comparison each: a function that does a piece of work and tells how long it took.

`python -m benchmarks.sides NAME '{"argument": 1}'` runs one, and prints what it tells as JSON. What
it takes to import a library, to make a file, or to prepare the work is not in the time, unless the
side is about that. Making batches is the user's work, and prepares; that the engine holds each to
its rules again when it is handed in is a part of the work, and in the time.
"""
