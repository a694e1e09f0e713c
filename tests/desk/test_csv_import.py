"""Orders from CSV: what is taken, and the one sentence for what is not."""

from decimal import Decimal
from pathlib import Path

import pytest

from brokers.orders import Buy, Sell, TimeInForce
from desk.csv_import import MAX_CSV_BYTES, TEMPLATE, ImportedOrders, read_orders
from desk.csv_import import orders as orders_module
from saga.errors import InvalidInput

DATA = Path(__file__).parent / "data"
HEAD = b"symbol,side,quantity\n"


def _refusal(data: bytes, lot: Decimal | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_orders(data, "orders.csv", lot=lot)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def _export(name: str, lot: str | None = None) -> ImportedOrders:
    data = (DATA / f"{name}.csv").read_bytes()
    return read_orders(data, name, lot=None if lot is None else Decimal(lot))


@pytest.mark.requirement("T4")
def test_each_row_is_one_order_in_the_order_of_the_file() -> None:
    read = read_orders(HEAD + b"KO,buy,50\nPG,sell,10\n", "orders.csv")

    first, second = read.orders
    assert isinstance(first, Buy)
    assert isinstance(second, Sell)
    assert (first.symbol, first.quantity, first.directive_id) == ("KO", Decimal(50), "EXE_0001")
    assert (second.symbol, second.quantity, second.directive_id) == ("PG", Decimal(10), "EXE_0002")
    assert read.skipped == ()


@pytest.mark.requirement("T4")
def test_the_template_is_taken_as_it_stands() -> None:
    market, limit = read_orders(TEMPLATE.encode(), "template.csv").orders

    assert market.limit_price is None
    assert limit.limit_price == Decimal("152.5")
    assert limit.time_in_force is TimeInForce.GTC
    assert limit.directive_id == "EXE_PG_LIMIT"


@pytest.mark.requirement("T4")
def test_numbers_arrive_exactly_as_they_were_written() -> None:
    head = b"symbol,side,quantity,lot,limit_price,tick\n"
    data = head + b"BTC,buy,0.123456789012,0.000000000001,0.1,0.1\n"

    (order,) = read_orders(data, "orders.csv").orders

    assert order.quantity == Decimal("0.123456789012")
    assert order.limit_price == Decimal("0.1")


@pytest.mark.requirement("T4")
@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + HEAD + b"KO,buy,50\n",
        b"symbol;side;quantity\r\nKO;buy;50\r\n",
        b"symbol\tside\tquantity\nKO\tbuy\t50\n",
        b'"symbol","side","quantity"\n"KO","buy","50"\n',
        b"\n\nSymbol, Side ,QUANTITY\n KO , BUY , 50 \n\n",
        b"quantity,symbol,side\n50,KO,buy",
    ],
    ids=["a BOM", "semicolons", "tabs", "quotes", "blanks and capitals", "another order"],
)
def test_a_file_may_be_written_as_spreadsheets_write_it(data: bytes) -> None:
    (order,) = read_orders(data, "orders.csv").orders

    assert (order.symbol, order.describe()) == ("KO", "buy 50 KO")


@pytest.mark.requirement("T4")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty; it needs a header line and orders"),
        (b" \n\n", "the file is empty"),
        (HEAD, "there is no order under the header"),
        (b"\xff\xfes\0y\0", "the file is UTF-16, not UTF-8; save it as UTF-8"),
        (HEAD + b"K\xe4,buy,1\n", "line 2: byte 0xE4 (the 2. of the line) is not UTF-8"),
        (HEAD + b"KO,buy,1\nK\xd6,buy,1\n", "line 3: byte 0xD6"),
        (HEAD + b"K\0O,buy,1\n", "line 2: there is a zero byte"),
        (b"symbol,side\nKO,buy\n", "line 1: column 'quantity' is missing; add it"),
        (b"symbol,side,quanity\nKO,buy,1\n", "column 'quanity' is not known; is 'quantity' meant?"),
        (b"symbol,side,quantity,zzz\nKO,buy,1,2\n", "column 'zzz' is not known; known are symbol"),
        (b"symbol,side,quantity,side\nKO,buy,1,buy\n", "column 'side' stands twice; remove one"),
        (b"symbol,side,quantity,\nKO,buy,1,\n", "column 4 has no name; name or remove it"),
        (b"KO,buy,50\n", "no column is known in the header 'KO,buy,50'; the first line must name"),
        (HEAD + b"KO,buy\n", "line 2: the row has 2 fields (['KO', 'buy']), the header 3"),
        (HEAD + b"KO,buy,1,5\n", "line 2: the row has 4 fields"),
        (HEAD + b'KO,buy,"1,5"\n', "line 2, column quantity: '1,5' has a comma in it; write"),
        (b"symbol;side;quantity\nKO;buy;1,5\n", "line 2, column quantity: '1,5' has a comma"),
        (HEAD + b'KO,buy,"1,000"\n', "no thousands separator"),
        (HEAD + b'KO,"bu"y,1\n', "line 2: the row cannot be read"),
        (HEAD + b'KO,buy,"1\n', "line 2: the row cannot be read"),
        (HEAD + b"KO,hold,1\n", "line 2, column side: 'hold' is neither 'buy' nor 'sell'"),
        (HEAD + b"KO,,1\n", "line 2, column side: the field is empty; fill it in"),
        (HEAD + b",buy,1\n", "line 2, column symbol: the field is empty"),
        (HEAD + b"ko,buy,1\n", "line 2, column symbol must match pattern"),
        (HEAD + b"KO,buy,0\n", "line 2, column quantity: 0 is not positive"),
        (HEAD + b"KO,buy,-3\n", "line 2, column quantity: -3 is not positive"),
        (HEAD + b"KO,buy,nan\n", "'nan' is not a plain number"),
        (HEAD + b"KO,buy,inf\n", "'inf' is not a plain number"),
        (HEAD + b"KO,buy,1e3\n", "'1e3' is not a plain number"),
        (HEAD + b"KO,buy,1_000\n", "'1_000' is not a plain number"),
        (HEAD + b"KO,buy," + b"1" * 29 + b"\n", "has more than 28 digits"),
        (HEAD + b"KO,buy,1.0000000000001\n", "has more than 12 digits behind the point"),
        (HEAD + b"KO,buy,1.5\n", "line 2: quantity 1.5 of KO must be a multiple of lot 1"),
        (
            b"symbol,side,quantity,limit_price,tick\nKO,buy,1,1.055,0.01\n",
            "line 2: limit_price 1.055 of KO must be a multiple of tick 0.01",
        ),
        (
            b"symbol,side,quantity,time_in_force\nKO,buy,1,FOK\n",
            "line 2, column time_in_force: must be 'DAY', 'GTC' or 'IOC', not 'FOK'",
        ),
        (
            b"symbol,side,quantity,directive_id\nKO,buy,1,EXE_1\n\nPG,buy,1,EXE_1\n",
            "line 4, column directive_id: 'EXE_1' stands on line 2 already",
        ),
        (
            b"symbol,side,quantity,directive_id\nKO,buy,1,first\n",
            "line 2, column directive_id must match pattern",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_line_column_and_value(
    data: bytes, words: str
) -> None:
    sentence = _refusal(data)

    assert sentence.startswith("orders.csv")
    assert words in sentence


@pytest.mark.requirement("T4")
def test_a_quoted_field_over_several_lines_does_not_shift_the_line_that_is_named() -> None:
    sentence = _refusal(b'symbol,side,quantity\n"K\nO",buy,1\nKO,buy,0\n')

    assert sentence.startswith("orders.csv, line 2, column symbol")
    assert _refusal(b'symbol,side,quantity\nKO,"buy\n",1\nKO,buy,0\n').startswith(
        "orders.csv, line 4, column quantity"
    )


@pytest.mark.requirement("T4")
def test_a_file_beyond_a_bound_is_refused_before_it_is_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert f"more than the {MAX_CSV_BYTES} allowed" in _refusal(b"x" * (MAX_CSV_BYTES + 1))

    monkeypatch.setattr(orders_module, "MAX_CSV_ROWS", 2)
    assert "line 4: the file has more than 2 rows" in _refusal(HEAD + b"KO,buy,1\n" * 3)


@pytest.mark.requirement("T4")
def test_a_trading_212_export_gives_its_trades_and_says_what_it_left_out() -> None:
    read = _export("trading212", lot="0.000001")

    assert read.layout == "Trading 212"
    assert [order.describe() for order in read.orders] == ["buy 0.029053 CSCO", "sell 0.61254 ASTR"]
    assert [(row.line, row.reason) for row in read.skipped] == [
        (2, "Deposit is no trade"),
        (5, "Dividend (Dividend) is no trade"),
    ]


@pytest.mark.requirement("T4")
def test_a_fraction_finer_than_the_lot_is_refused_and_never_rounded() -> None:
    data = (DATA / "trading212.csv").read_bytes()

    sentence = _refusal(data)

    assert "line 3: quantity 0.029053 of CSCO must be a multiple of lot 1" in sentence
    assert "multiple of lot 0.0001" in _refusal(data, lot=Decimal("0.0001"))


@pytest.mark.requirement("T4")
def test_a_schwab_export_stands_newest_first_and_is_sent_oldest_first() -> None:
    read = _export("schwab")

    assert [order.describe() for order in read.orders] == [
        "buy 1 PLUG",
        "sell 1 PLUG",
        "sell 11 IREN",
        "buy 90 RCAX",
    ]
    assert [row.line for row in read.skipped] == [4, 7]
    assert "MoneyLink Transfer" in read.skipped[0].reason


@pytest.mark.requirement("T4")
def test_an_ibkr_flex_export_gives_its_trades() -> None:
    read = _export("ibkr-flex")

    assert [order.describe() for order in read.orders] == ["buy 17 VTI"]


@pytest.mark.requirement("T4")
def test_an_export_without_any_trade_is_refused_with_the_first_reason() -> None:
    header, *rows = (DATA / "schwab.csv").read_text().splitlines()
    only_transfer = "\n".join([header, *(row for row in rows if "MoneyLink" in row)])

    sentence = _refusal(only_transfer.encode())

    assert "none of the 1 rows of this Schwab export is a trade" in sentence
    assert "line 2, MoneyLink Transfer" in sentence
