"""The desk: the `saga` command, its settings, and how the parts are put together."""
