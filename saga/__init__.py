"""The saga orchestrator for trading batches."""

__version__ = "0.1.0"
