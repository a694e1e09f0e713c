"""The paper exchange keeps the contract of every broker."""

from pathlib import Path

import pytest

from brokers import Broker
from tests.brokers.contract import BrokerContract
from tests.brokers.samples import new_exchange


class TestPaperExchange(BrokerContract):
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Broker:
        return new_exchange(tmp_path)
