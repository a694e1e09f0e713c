"""The tables of the portfolio's books, as migrations that can be taken back.

Money and quantities are exact decimals, kept as text. `portfolio_ledger` says everything that ever
changed the books; cash and holdings are its sums, kept beside it. One fill stands there once, and
is reversed at most once (S9).
"""

from typing import Final

from saga.store.protocol import Migration

PROJECTION: Final = "portfolio"
"""The projection's name, and the prefix of its tables."""

_SIGNED: Final = "CHECK ({0} <> '' AND {0} NOT GLOB '*[^0-9.-]*')"
_UNSIGNED: Final = "CHECK ({0} <> '' AND {0} NOT GLOB '*[^0-9.]*')"

_BOOKS = f"""
CREATE TABLE portfolio_books (
    name TEXT PRIMARY KEY,
    currency TEXT NOT NULL,
    cash TEXT NOT NULL {_SIGNED.format("cash")},
    opened_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""

_HOLDINGS = f"""
CREATE TABLE portfolio_holdings (
    portfolio TEXT NOT NULL REFERENCES portfolio_books (name),
    symbol TEXT NOT NULL,
    quantity TEXT NOT NULL {_SIGNED.format("quantity")},
    last_price TEXT,
    PRIMARY KEY (portfolio, symbol)
) STRICT, WITHOUT ROWID
"""

_LEDGER = f"""
CREATE TABLE portfolio_ledger (
    id INTEGER PRIMARY KEY,
    portfolio TEXT NOT NULL REFERENCES portfolio_books (name),
    batch TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('trade', 'undo', 'transfer', 'adjustment')),
    client_order_id TEXT,
    fill_id TEXT,
    symbol TEXT,
    quantity TEXT NOT NULL {_SIGNED.format("quantity")},
    price TEXT,
    fee TEXT NOT NULL {_SIGNED.format("fee")},
    cash TEXT NOT NULL {_SIGNED.format("cash")},
    reference TEXT,
    at INTEGER NOT NULL,
    UNIQUE (client_order_id, fill_id),
    CHECK (kind = 'adjustment' OR (client_order_id IS NOT NULL AND fill_id IS NOT NULL))
) STRICT
"""

_RESERVATIONS = f"""
CREATE TABLE portfolio_reservations (
    batch TEXT PRIMARY KEY,
    portfolio TEXT NOT NULL REFERENCES portfolio_books (name),
    cash TEXT NOT NULL {_UNSIGNED.format("cash")},
    effect TEXT NOT NULL {_SIGNED.format("effect")}
) STRICT, WITHOUT ROWID
"""

_RESERVED_SHARES = f"""
CREATE TABLE portfolio_reserved_shares (
    batch TEXT NOT NULL REFERENCES portfolio_reservations (batch),
    symbol TEXT NOT NULL,
    quantity TEXT NOT NULL {_UNSIGNED.format("quantity")},
    effect TEXT NOT NULL {_SIGNED.format("effect")},
    PRIMARY KEY (batch, symbol)
) STRICT, WITHOUT ROWID
"""

_STALE = """
CREATE TABLE portfolio_stale (
    batch TEXT PRIMARY KEY,
    portfolio TEXT NOT NULL REFERENCES portfolio_books (name),
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""

_LEDGER_WITH_REVERSALS = f"""
CREATE TABLE portfolio_ledger (
    id INTEGER PRIMARY KEY,
    portfolio TEXT NOT NULL REFERENCES portfolio_books (name),
    batch TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('trade', 'undo', 'transfer', 'adjustment', 'reversal')),
    client_order_id TEXT,
    fill_id TEXT,
    reverses TEXT,
    symbol TEXT,
    quantity TEXT NOT NULL {_SIGNED.format("quantity")},
    price TEXT,
    fee TEXT NOT NULL {_SIGNED.format("fee")},
    cash TEXT NOT NULL {_SIGNED.format("cash")},
    reference TEXT,
    at INTEGER NOT NULL,
    UNIQUE (client_order_id, fill_id),
    UNIQUE (client_order_id, reverses),
    CHECK (kind = 'adjustment' OR client_order_id IS NOT NULL),
    CHECK (kind = 'adjustment' OR (kind = 'reversal') = (fill_id IS NULL)),
    CHECK ((kind = 'reversal') = (reverses IS NOT NULL))
) STRICT
"""

_LEDGER_INDEXES: Final = (
    "CREATE INDEX portfolio_ledger_by_portfolio ON portfolio_ledger (portfolio, id)",
    "CREATE INDEX portfolio_ledger_by_batch ON portfolio_ledger (batch)",
)

MIGRATIONS: Final = (
    Migration(
        number=1,
        name="books, holdings and the ledger",
        up=(
            _BOOKS,
            _HOLDINGS,
            _LEDGER,
            *_LEDGER_INDEXES,
        ),
        down=(
            "DROP TABLE portfolio_ledger",
            "DROP TABLE portfolio_holdings",
            "DROP TABLE portfolio_books",
        ),
    ),
    Migration(
        number=2,
        name="reservations, and what is stale",
        up=(
            _RESERVATIONS,
            _RESERVED_SHARES,
            _STALE,
            "CREATE INDEX portfolio_reservations_by_portfolio"
            " ON portfolio_reservations (portfolio)",
            "CREATE INDEX portfolio_stale_by_portfolio ON portfolio_stale (portfolio)",
        ),
        down=(
            "DROP TABLE portfolio_stale",
            "DROP TABLE portfolio_reserved_shares",
            "DROP TABLE portfolio_reservations",
        ),
    ),
    Migration(
        number=3,
        name="fills that were taken back",
        up=(
            "ALTER TABLE portfolio_ledger RENAME TO portfolio_ledger_before",
            _LEDGER_WITH_REVERSALS,
            "INSERT INTO portfolio_ledger (id, kind, client_order_id, fill_id, reference,"
            " portfolio, batch, symbol, quantity, price, fee, cash, at)"
            " SELECT id, kind, client_order_id, fill_id, reference,"
            " portfolio, batch, symbol, quantity, price, fee, cash, at"
            " FROM portfolio_ledger_before ORDER BY id",
            "DROP TABLE portfolio_ledger_before",
            *_LEDGER_INDEXES,
        ),
        down=(
            "ALTER TABLE portfolio_ledger RENAME TO portfolio_ledger_after",
            _LEDGER,
            # The old tables know no reversals; an adjustment that names the trade says the same.
            "INSERT INTO portfolio_ledger (id, kind, client_order_id, fill_id, reference,"
            " portfolio, batch, symbol, quantity, price, fee, cash, at)"
            " SELECT id, iif(kind = 'reversal', 'adjustment', kind),"
            " iif(kind = 'reversal', NULL, client_order_id), fill_id,"
            " coalesce(reference, reverses),"
            " portfolio, batch, symbol, quantity, price, fee, cash, at"
            " FROM portfolio_ledger_after ORDER BY id",
            "DROP TABLE portfolio_ledger_after",
            *_LEDGER_INDEXES,
        ),
    ),
)
