"""The three examples that the JSON schema of a batch shows, as documents; nothing runs on them.

Their kinds of directive come from `brokers`, which this package does not know. A test reads each
example as a batch.
"""

from typing import Any, Final

_EMERGENCY_EXIT: Final[dict[str, Any]] = {
    "batch_id": "BAT_20261121_143005_x9k2m",
    "directives": [
        {"directive_id": "EXE_EXIT_1", "kind": "sell", "symbol": "AAPL", "quantity": "120"},
        {"directive_id": "EXE_EXIT_2", "kind": "sell", "symbol": "MSFT", "quantity": "45"},
        {"directive_id": "EXE_EXIT_3", "kind": "buy", "symbol": "XOM", "quantity": "300"},
    ],
    "execution_mode": "ATOMIC",
    "created_at": "2026-11-21T14:30:05Z",
    "rollback_on_failure": True,
    "timeout_seconds": 30,
    "metadata": {"reason": "FLASH_CRASH"},
    "priority": "HIGH",
}

_BULK_CANCEL: Final[dict[str, Any]] = {
    "batch_id": "BAT_20261121_200000_c4n7q",
    "directives": [
        {
            "directive_id": f"EXE_CANCEL_{number:02}",
            "kind": "cancel_order",
            "client_order_id": f"20261121_093000_k3v9x-{number}F1",
        }
        for number in range(1, 21)
    ],
    "execution_mode": "PARALLEL",
    "created_at": "2026-11-21T20:00:00Z",
    "timeout_seconds": 10,
}

_HEDGE: Final[dict[str, Any]] = {
    "batch_id": "BAT_20261121_101500_h3d9e",
    "directives": [
        {"directive_id": "EXE_HEDGE_1", "kind": "buy", "symbol": "GLD", "quantity": "50"},
        {"directive_id": "EXE_HEDGE_2", "kind": "sell", "symbol": "AAPL", "quantity": "20"},
    ],
    "execution_mode": "SEQUENTIAL",
    "created_at": "2026-11-21T10:15:00Z",
}

EXAMPLES: Final = (_EMERGENCY_EXIT, _BULK_CANCEL, _HEDGE)
"""Emergency exit, bulk cancel, hedge."""
