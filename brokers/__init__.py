"""Trading directives, and the connections to venues that carry them out.

Importing this package registers the kinds `buy`, `sell` and `cancel_order` with the engine.
"""

from brokers.broker import Broker
from brokers.errors import OrderRefused, OutcomeUnknown
from brokers.orders import Buy, CancelOrder, Order, Sell, Side, TimeInForce
from brokers.register import BatchOperation, BatchRegister, NoRegister, OperationStatus
from brokers.venue import (
    Account,
    BrokerCapabilities,
    Idempotency,
    OrderRequest,
    OrderState,
    OrderStatus,
    Position,
    Trade,
)
from brokers.watcher import TradeWatcher

__all__ = [
    "Account",
    "BatchOperation",
    "BatchRegister",
    "Broker",
    "BrokerCapabilities",
    "Buy",
    "CancelOrder",
    "Idempotency",
    "NoRegister",
    "OperationStatus",
    "Order",
    "OrderRefused",
    "OrderRequest",
    "OrderState",
    "OrderStatus",
    "OutcomeUnknown",
    "Position",
    "Sell",
    "Side",
    "TimeInForce",
    "Trade",
    "TradeWatcher",
]
