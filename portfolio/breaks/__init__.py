"""The break report: every difference of journal, broker and portfolio, and whose it is."""

from portfolio.breaks.broker_side import BrokerOrder, BrokerSide, of_books
from portfolio.breaks.compare import compare
from portfolio.breaks.journal_side import JournalSide
from portfolio.breaks.reading import find_breaks
from portfolio.breaks.record import Break, BreakReport, Kind, Says, SymbolTotal

__all__ = [
    "Break",
    "BreakReport",
    "BrokerOrder",
    "BrokerSide",
    "JournalSide",
    "Kind",
    "Says",
    "SymbolTotal",
    "compare",
    "find_breaks",
    "of_books",
]
