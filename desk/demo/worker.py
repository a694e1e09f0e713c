"""The process that is killed: it owns the store, sells positions, and never comes to the end.

Run as `python -m desk.demo.worker FOLDER SYMBOL...`. It is a program like any other that embeds the
engine; nothing in it knows that it will be killed.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from desk.demo.stage import open_house
from desk.home import Home
from portfolio import Terms
from portfolio.portfolio import EXIT_TERMS


async def sell_off(home: Home, symbols: Sequence[str]) -> None:
    """Sell all of these positions as one emergency exit, and wait for its end."""
    terms: Terms = replace(EXIT_TERMS, metadata={"reason": "FLASH_CRASH"}, by="demo")
    async with open_house(home) as house:
        await house.main.wait(await house.main.exit(symbols, terms))


def main(arguments: Sequence[str]) -> int:
    """Run it; returns only if nobody kills it."""
    folder, *symbols = arguments
    anyio.run(sell_off, Home(Path(folder)), symbols)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
