"""The tables of the SQLite store, as numbered migrations, each with its way back.

A migration that has been released is never edited: a store out there has taken it. To change a
table, add a migration at the end. The words in the CHECKs are therefore written out here and not
taken from the enums; a test compares the two.

How values are kept: instants as whole microseconds since 1970 in UTC (small, exact, sortable);
money and quantities as the text of an exact decimal; digests as 32 bytes.

Every index on `batches` or `trades` ends in the row's `id` by itself, as SQLite appends it. So an
index on `created_at` serves keyset paging by `(created_at, id)`.
"""

from typing import Final

from saga.store.protocol import Migration

APPLICATION_ID: Final = 0x54534147
"""`PRAGMA application_id` of every store: "TSAG"."""

COMPONENT: Final = "engine"
"""The name under which these migrations are recorded; each projection has a name of its own."""

_BATCHES = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    batch_uid TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN
        ('PENDING', 'RUNNING', 'COMPENSATING', 'COMPLETED', 'ROLLED_BACK', 'STALE')),
    outcome TEXT CHECK (outcome IN ('SUCCESS', 'PARTIAL_SUCCESS', 'FAILED', 'CANCELLED')),
    status TEXT NOT NULL CHECK (status IN
        ('pending', 'running', 'success', 'partial_success', 'failed', 'cancelled', 'stale')),
    mode TEXT NOT NULL CHECK (mode IN ('SEQUENTIAL', 'PARALLEL', 'ATOMIC')),
    priority TEXT NOT NULL CHECK (priority IN ('HIGH', 'NORMAL', 'LOW')),
    exclusion_key TEXT,
    parent_id TEXT,
    total_trades INTEGER NOT NULL CHECK (total_trades >= 1),
    processed_trades INTEGER NOT NULL CHECK (processed_trades BETWEEN 0 AND total_trades),
    failed_trades INTEGER NOT NULL CHECK (failed_trades BETWEEN 0 AND processed_trades),
    undone_trades INTEGER NOT NULL CHECK (undone_trades BETWEEN 0 AND total_trades),
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    updated_at INTEGER NOT NULL,
    completed_at INTEGER,
    deadline INTEGER,
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    program TEXT NOT NULL,
    reason TEXT,
    waits_for TEXT,
    undo_cost TEXT CHECK (undo_cost <> '' AND undo_cost NOT GLOB '*[^0-9.-]*'),
    residual TEXT,
    head_number INTEGER NOT NULL CHECK (head_number >= 1),
    head_digest BLOB NOT NULL CHECK (length(head_digest) = 32)
) STRICT
"""

_TRADES = """
CREATE TABLE trades (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batches (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    directive_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    symbol TEXT,
    direction INTEGER NOT NULL CHECK (direction IN (-1, 0, 1)),
    status TEXT NOT NULL CHECK (status IN
        ('pending', 'running', 'success', 'partial', 'error', 'unknown', 'not_sent',
         'undoing', 'undone', 'stuck')),
    state TEXT NOT NULL CHECK (state IN
        ('PENDING', 'SENDING', 'WORKING', 'DONE', 'PARTIAL', 'REFUSED', 'UNKNOWN',
         'COMPENSATING', 'COMPENSATED', 'STUCK')),
    rollback INTEGER NOT NULL CHECK (rollback IN (0, 1)),
    amount TEXT NOT NULL CHECK (amount <> '' AND amount NOT GLOB '*[^0-9.]*'),
    done TEXT NOT NULL CHECK (done <> '' AND done NOT GLOB '*[^0-9.]*'),
    undone TEXT NOT NULL CHECK (undone <> '' AND undone NOT GLOB '*[^0-9.]*'),
    value TEXT NOT NULL CHECK (value <> '' AND value NOT GLOB '*[^0-9.-]*'),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    result TEXT,
    error TEXT,
    UNIQUE (batch_id, position)
) STRICT
"""

# A list in a CHECK is built in memory as a table, each time that a row is written.
_TRADES_WITHOUT_LISTS = """
CREATE TABLE trades (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batches (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    directive_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    symbol TEXT,
    direction INTEGER NOT NULL CHECK (direction IN (-1, 0, 1)),
    status TEXT NOT NULL CHECK (
        status = 'pending' OR status = 'running' OR status = 'success' OR status = 'partial'
        OR status = 'error' OR status = 'unknown' OR status = 'not_sent' OR status = 'undoing'
        OR status = 'undone' OR status = 'stuck'),
    state TEXT NOT NULL CHECK (
        state = 'PENDING' OR state = 'SENDING' OR state = 'WORKING' OR state = 'DONE'
        OR state = 'PARTIAL' OR state = 'REFUSED' OR state = 'UNKNOWN' OR state = 'COMPENSATING'
        OR state = 'COMPENSATED' OR state = 'STUCK'),
    rollback INTEGER NOT NULL CHECK (rollback IN (0, 1)),
    amount TEXT NOT NULL CHECK (amount <> '' AND amount NOT GLOB '*[^0-9.]*'),
    done TEXT NOT NULL CHECK (done <> '' AND done NOT GLOB '*[^0-9.]*'),
    undone TEXT NOT NULL CHECK (undone <> '' AND undone NOT GLOB '*[^0-9.]*'),
    value TEXT NOT NULL CHECK (value <> '' AND value NOT GLOB '*[^0-9.-]*'),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    result TEXT,
    error TEXT,
    UNIQUE (batch_id, position)
) STRICT
"""

_JOURNAL = """
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY CHECK (sequence >= 1),
    batch_id INTEGER NOT NULL REFERENCES batches (id),
    number INTEGER NOT NULL CHECK (number >= 1),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    UNIQUE (batch_id, number)
) STRICT
"""

_NO_UPDATE = """
CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only; a record is never changed'); END
"""

_NO_DELETE = """
CREATE TRIGGER journal_is_never_shortened BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only; a record is never removed'); END
"""

_OWNER = """
CREATE TABLE owner (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    pid INTEGER NOT NULL CHECK (pid >= 0),
    token TEXT,
    host TEXT NOT NULL,
    acquired_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    released INTEGER NOT NULL CHECK (released IN (0, 1))
) STRICT
"""

_QUARANTINE = """
CREATE TABLE quarantine (
    batch_uid TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""

_LOGBOOK = """
CREATE TABLE logbook (
    number INTEGER PRIMARY KEY CHECK (number >= 1),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT
"""

_NO_LOGBOOK_UPDATE = """
CREATE TRIGGER logbook_is_never_changed BEFORE UPDATE ON logbook
BEGIN SELECT RAISE(ABORT, 'the logbook is append-only; an entry is never changed'); END
"""

_NO_LOGBOOK_DELETE = """
CREATE TRIGGER logbook_is_never_shortened BEFORE DELETE ON logbook
BEGIN SELECT RAISE(ABORT, 'the logbook is append-only; an entry is never removed'); END
"""

_INDEXES_OF_TRADES = (
    "CREATE INDEX trades_by_status ON trades (status)",
    "CREATE INDEX trades_by_symbol ON trades (symbol, batch_id) WHERE symbol IS NOT NULL",
    "CREATE INDEX trades_by_directive ON trades (directive_id, batch_id)",
)


def _trades_anew(table: str) -> tuple[str, ...]:
    """Return the statements that make the table of trades anew, with the rows that it has."""
    return (
        "CREATE TABLE trades_kept AS SELECT * FROM trades",
        "DROP TABLE trades",
        table,
        "INSERT INTO trades SELECT * FROM trades_kept",
        "DROP TABLE trades_kept",
        *_INDEXES_OF_TRADES,
    )


_SORTED = (
    "CREATE INDEX batches_sorted_by_created_at ON batches"
    " (status, state, mode, priority, created_at)",
    "CREATE INDEX batches_sorted_by_updated_at ON batches"
    " (status, state, mode, priority, updated_at)",
    "CREATE INDEX batches_sorted_by_total_trades ON batches"
    " (status, state, mode, priority, total_trades)",
)
_SORTED_OF_KEY = (
    "CREATE INDEX batches_of_key_sorted_by_created_at ON batches"
    " (exclusion_key, status, state, mode, priority, created_at)"
    " WHERE exclusion_key IS NOT NULL",
    "CREATE INDEX batches_of_key_sorted_by_updated_at ON batches"
    " (exclusion_key, status, state, mode, priority, updated_at)"
    " WHERE exclusion_key IS NOT NULL",
    "CREATE INDEX batches_of_key_sorted_by_total_trades ON batches"
    " (exclusion_key, status, state, mode, priority, total_trades)"
    " WHERE exclusion_key IS NOT NULL",
)
_DROP_SORTED = (
    "DROP INDEX batches_of_key_sorted_by_total_trades",
    "DROP INDEX batches_of_key_sorted_by_updated_at",
    "DROP INDEX batches_of_key_sorted_by_created_at",
    "DROP INDEX batches_sorted_by_total_trades",
    "DROP INDEX batches_sorted_by_updated_at",
    "DROP INDEX batches_sorted_by_created_at",
)
# Not as a list: SQLite would build a table of it in memory for each index and each update.
_AT_REST = "state <> 'PENDING' AND state <> 'RUNNING' AND state <> 'COMPENSATING'"
# The id, by which what is alike is ordered, stands before the instants, or they would order it.
_SORTED_WITH_INSTANTS = (
    "CREATE INDEX batches_sorted_by_created_at ON batches"
    " (status, state, mode, priority, created_at, id, completed_at)",
    "CREATE INDEX batches_sorted_by_updated_at ON batches"
    " (status, state, mode, priority, updated_at, id, created_at, completed_at)",
    "CREATE INDEX batches_sorted_by_total_trades ON batches"
    " (status, state, mode, priority, total_trades, id, created_at, completed_at)",
)
_SORTED_OF_KEY_WITH_INSTANTS = (
    "CREATE INDEX batches_of_key_sorted_by_created_at ON batches"
    " (exclusion_key, status, state, mode, priority, created_at, id, completed_at)"
    " WHERE exclusion_key IS NOT NULL",
    "CREATE INDEX batches_of_key_sorted_by_updated_at ON batches"
    " (exclusion_key, status, state, mode, priority, updated_at, id, created_at, completed_at)"
    " WHERE exclusion_key IS NOT NULL",
    "CREATE INDEX batches_of_key_sorted_by_total_trades ON batches"
    " (exclusion_key, status, state, mode, priority, total_trades, id, created_at, completed_at)"
    " WHERE exclusion_key IS NOT NULL",
)


def _sorted_anew(of_all: tuple[str, ...], of_key: tuple[str, ...]) -> tuple[str, ...]:
    """Return what puts these indexes, of what is at rest, in the place of the sorted ones."""
    return (
        *_DROP_SORTED,
        *(f"{index} WHERE {_AT_REST}" for index in of_all),
        *(f"{index} AND {_AT_REST}" for index in of_key),
    )


# Spelled out with OR, by which SQLite sees that `status = 'stuck'` is among them.
_WORTH_FINDING = (
    "status = 'partial' OR status = 'error' OR status = 'unknown' OR status = 'not_sent'"
    " OR status = 'undoing' OR status = 'undone' OR status = 'stuck'"
)

MIGRATIONS: Final = (
    Migration(
        number=1,
        name="batches and their trades",
        up=(
            _BATCHES,
            _TRADES,
            "CREATE INDEX trades_by_status ON trades (status)",
            "CREATE INDEX batches_by_status ON batches (status, created_at)",
            "CREATE INDEX batches_unfinished ON batches (state)"
            " WHERE state NOT IN ('COMPLETED', 'ROLLED_BACK')",
        ),
        down=("DROP TABLE trades", "DROP TABLE batches"),
    ),
    Migration(
        number=2,
        name="the append-only journal",
        up=(_JOURNAL, _NO_UPDATE, _NO_DELETE),
        down=("DROP TABLE journal",),
    ),
    Migration(
        number=3,
        name="the owner, and sagas set aside",
        up=(_OWNER, _QUARANTINE),
        down=("DROP TABLE quarantine", "DROP TABLE owner"),
    ),
    Migration(
        number=4,
        name="indexes for the history",
        up=(
            # One for each order, led by what has few values: any filter on these is a handful of
            # ordered walks, merged (see sqlite_history).
            *_SORTED,
            *_SORTED_OF_KEY,
            # What may be rare, and is then gathered whole.
            "CREATE INDEX batches_by_created_at ON batches (created_at)",
            "CREATE INDEX batches_by_completed_at ON batches (completed_at)"
            " WHERE completed_at IS NOT NULL",
            "CREATE INDEX batches_by_parent ON batches (parent_id) WHERE parent_id IS NOT NULL",
            "CREATE INDEX trades_by_symbol ON trades (symbol, batch_id) WHERE symbol IS NOT NULL",
            "CREATE INDEX trades_by_directive ON trades (directive_id, batch_id)",
        ),
        down=(
            "DROP INDEX trades_by_directive",
            "DROP INDEX trades_by_symbol",
            "DROP INDEX batches_by_parent",
            "DROP INDEX batches_by_completed_at",
            "DROP INDEX batches_by_created_at",
            *_DROP_SORTED,
        ),
    ),
    Migration(
        number=5,
        name="open incidents: late truth that nobody has dealt with",
        up=(
            "ALTER TABLE batches ADD COLUMN"
            " incidents INTEGER NOT NULL DEFAULT 0 CHECK (incidents >= 0)",
            "CREATE INDEX batches_with_incidents ON batches (incidents) WHERE incidents > 0",
        ),
        down=(
            "DROP INDEX batches_with_incidents",
            "ALTER TABLE batches DROP COLUMN incidents",
        ),
    ),
    Migration(
        number=6,
        name="the logbook: starts, trading state, limits, alerts told",
        up=(
            _LOGBOOK,
            _NO_LOGBOOK_UPDATE,
            _NO_LOGBOOK_DELETE,
            "CREATE INDEX logbook_by_kind ON logbook (kind)",
        ),
        down=("DROP TABLE logbook",),
    ),
    Migration(
        number=7,
        name="records that leave out what says nothing, and directives in rows",
        up=(),  # The tables stay; but an older program could not read such records.
        down=(),
        in_the_way=(
            "SELECT count(*) FROM journal JOIN batches ON batches.id = journal.batch_id"
            " WHERE batches.state NOT IN ('COMPLETED', 'ROLLED_BACK')"
            " AND journal.number = 1 AND journal.data LIKE '%\"directives\":{%'",
            "unfinished batches have their directives in rows",
        ),
    ),
    Migration(
        number=8,
        name="what is in flight is in no sorted index, which each of its records would move",
        up=_sorted_anew(_SORTED, _SORTED_OF_KEY),
        down=(*_DROP_SORTED, *_SORTED, *_SORTED_OF_KEY),
    ),
    Migration(
        number=9,
        name="trades whose words are checked without a list",
        up=_trades_anew(_TRADES_WITHOUT_LISTS),
        down=_trades_anew(_TRADES),
    ),
    Migration(
        number=10,
        name="the PID namespace of the owner, and whether it holds the file's lock",
        up=(
            "ALTER TABLE owner ADD COLUMN namespace INTEGER",
            "ALTER TABLE owner ADD COLUMN"
            " locked INTEGER NOT NULL DEFAULT 0 CHECK (locked IN (0, 1))",
        ),
        down=(
            "ALTER TABLE owner DROP COLUMN locked",
            "ALTER TABLE owner DROP COLUMN namespace",
        ),
    ),
    Migration(
        number=11,
        name="trades by status: only those that did not go as they should",
        up=(
            "DROP INDEX trades_by_status",
            f"CREATE INDEX trades_by_status ON trades (status) WHERE {_WORTH_FINDING}",
        ),
        down=(
            "DROP INDEX trades_by_status",
            "CREATE INDEX trades_by_status ON trades (status)",
        ),
    ),
    Migration(
        number=12,
        name="the sorted indexes hold the instants that spans of time ask for",
        up=_sorted_anew(_SORTED_WITH_INSTANTS, _SORTED_OF_KEY_WITH_INSTANTS),
        down=_sorted_anew(_SORTED, _SORTED_OF_KEY),
    ),
)
