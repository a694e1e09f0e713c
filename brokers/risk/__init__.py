"""The risk gate: the limits that every order has to keep, between its intent and its send."""

from brokers.risk.gate import RiskGate
from brokers.risk.limits import RiskLimits
from brokers.risk.market import AccountHoldings, Holdings, Reference, References

__all__ = ["AccountHoldings", "Holdings", "Reference", "References", "RiskGate", "RiskLimits"]
