"""Holdings and cash that follow the journal, and the trades of a portfolio as batches.

Importing this package registers the kind `cash_transfer` with the engine.
"""

from portfolio.audit import books_errors
from portfolio.books import Books, Holding, LedgerEntry, StaleMark
from portfolio.errors import (
    AlreadyInitialised,
    CannotPlan,
    CannotReserve,
    InsufficientCash,
    InsufficientShares,
    NoSuchPortfolio,
    PortfolioStale,
    TransferNotBooked,
)
from portfolio.naming import exclusion_key, portfolio_of
from portfolio.portfolio import Portfolio, Terms
from portfolio.prices import FixedPrices, PriceSource
from portfolio.projection import PortfolioProjection
from portfolio.reconcile import Difference, Origin, Reconciliation, UnbookedTrade, reconcile
from portfolio.reservation import NO_ALLOWANCE, Allowance
from portfolio.transfer import CashDesk, CashTransfer
from portfolio.weights import Plan, PlannedTrade, Rules, Weight, plan_rebalance

__all__ = [
    "NO_ALLOWANCE",
    "Allowance",
    "AlreadyInitialised",
    "Books",
    "CannotPlan",
    "CannotReserve",
    "CashDesk",
    "CashTransfer",
    "Difference",
    "FixedPrices",
    "Holding",
    "InsufficientCash",
    "InsufficientShares",
    "LedgerEntry",
    "NoSuchPortfolio",
    "Origin",
    "Plan",
    "PlannedTrade",
    "Portfolio",
    "PortfolioProjection",
    "PortfolioStale",
    "PriceSource",
    "Reconciliation",
    "Rules",
    "StaleMark",
    "Terms",
    "TransferNotBooked",
    "UnbookedTrade",
    "Weight",
    "books_errors",
    "exclusion_key",
    "plan_rebalance",
    "portfolio_of",
    "reconcile",
]
