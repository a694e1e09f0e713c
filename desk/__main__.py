"""The `saga` command's front door, which opens even where the command's own packages are missing.

The engine is installed without the packages of the command. Whoever then types `saga` is told what
to install, in one line. This module may import nothing of the desk before it knows that they are
there.
"""

import sys
from importlib.util import find_spec

COMMAND_PACKAGES = ("typer", "rich", "pydantic_settings")
"""What the extra `desk` brings (pyproject.toml)."""

EXIT_USAGE = 2


def main() -> int:
    """Run the `saga` command.

    Returns:
        The exit status of the command; 2, after one line on stderr, where the extra `desk` is
        not installed.
    """
    missing = [name for name in COMMAND_PACKAGES if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            "The saga command needs more than the engine "
            f"(missing: {', '.join(missing)}). Install it with: pip install 'trade-saga[desk]'\n"
        )
        return EXIT_USAGE
    from desk.command import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
