"""The `saga` command. Whatever happens in it ends in an exit status and at most one sentence.

`run` is made to be light: nothing is loaded before it is certain that an interruption, at any
moment, is heard as one.
"""

from desk.signals import ignore_from_now_on, raise_on_sigterm


def run() -> int:
    """Run the command with the process's arguments, and return its exit status."""
    raise_on_sigterm()
    try:
        from desk.command.app import run_app

        code = run_app()
    except KeyboardInterrupt:
        code = 130
    ignore_from_now_on()
    return code
