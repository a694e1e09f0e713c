"""The paper exchange: a durable venue on real prices, whose misbehaviour can be scripted."""

from brokers.paper.audit import conservation_errors
from brokers.paper.books import Books, BooksUnusable, read_books
from brokers.paper.exchange import PaperExchange
from brokers.paper.faults import Fault, FaultCount, FaultRule, Garbage, Operation
from brokers.paper.market import EXAMPLE_OPTIONS, Market
from brokers.paper.prices import PaperPrices
from brokers.paper.rows import BookedOrder, CashEntry
from brokers.paper.settings import PaperSettings

__all__ = [
    "EXAMPLE_OPTIONS",
    "BookedOrder",
    "Books",
    "BooksUnusable",
    "CashEntry",
    "Fault",
    "FaultCount",
    "FaultRule",
    "Garbage",
    "Market",
    "Operation",
    "PaperExchange",
    "PaperPrices",
    "PaperSettings",
    "conservation_errors",
    "read_books",
]
