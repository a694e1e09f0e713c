"""The version of the program; kept with every saga that it starts."""

VERSION = "0.1.0"
