"""Columns are found by name or by shape, in every CSV dialect of spreadsheets and tools."""

from __future__ import annotations

import itertools

import pytest

from common.errors import RejectedRecord
from producer.parsing.decimals import from_bytes
from producer.parsing.rest_and_csv import cells_of
from producer.parsing.source_files import batches, open_source

NAMES = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match"
ROWS = (
    "7,0.5,23.0,9,10,1570752011620,True,True",
    "8,0.6,24.0,11,11,1570752011621,False,True",
    "9,0.7,25.0,12,12,1570752011622,True,True",
)
WANTED = [
    (7, 9, 10, "0.5", "23.0", "SELL"), (8, 11, 11, "0.6", "24.0", "BUY"), (9, 12, 12, "0.7", "25.0", "SELL"),
]  # fmt: skip


def file_of(tmp_path, text, encoding="utf-8", name="BTCUSDT-aggTrades-2026-01.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def read(path):
    source = open_source(path)
    return [source.format.parse(raw.decode()) for batch, _ in batches(source) for raw, _, _ in batch]


def plain(trades):
    return [
        (trade.trade_id, trade.first_trade_id, trade.last_trade_id, f"{from_bytes(trade.price).normalize():f}",
         f"{from_bytes(trade.qty):.1f}", trade.side)
        for trade in trades
    ]  # fmt: skip


def in_dialect(lines, delimiter=",", end="\n", quote="", blank=""):
    return end.join(delimiter.join(f"{blank}{quote}{cell}{quote}{blank}" for cell in line.split(",")) for line in lines)


DIALECTS = list(itertools.product((",", "\t", ";", "|"), ("\n", "\r\n", "\r"), ("", '"'), ("", " ")))


@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("lines", [[NAMES, *ROWS], ROWS], ids=["named", "unnamed"])
def test_every_dialect_is_read(tmp_path, dialect, mark, lines):
    text = mark + in_dialect(lines, *dialect) + dialect[1]
    assert plain(read(file_of(tmp_path, text))) == WANTED


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("true", "false"),
        ("TRUE", "FALSE"),
        ("True", "False"),
        ("t", "f"),
        ("T", "F"),
        ("1", "0"),
        ("yes", "no"),
        ("Y", "N"),
    ],
)
def test_any_spelling_of_a_boolean(tmp_path, true, false):
    rows = [row.replace("True", true).replace("False", false) for row in ROWS]
    assert [trade.side for trade in read(file_of(tmp_path, "\n".join(rows)))] == ["SELL", "BUY", "SELL"]


def in_order(names, order):
    """Return the file with its columns in another order."""
    rows = [names.split(","), *(row.split(",") for row in ROWS)]
    return "\n".join(",".join(row[at] for at in order) for row in rows)


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        "a,p,q,f,l,T,m,M",
        "Aggregate tradeId,Price,Quantity,First tradeId,Last tradeId,Timestamp,Was the buyer the maker,"
        "Was the trade the best price match",
        "aggTradeId,price,qty,firstId,lastId,time,isBuyerMaker,isBestMatch",
        "trade_id,price,qty,first_id,last_id,timestamp,is_buyer_maker,my_own_note",
    ],
)
@pytest.mark.parametrize("order", [range(8), (7, 6, 5, 4, 3, 2, 1, 0), (2, 0, 1, 6, 7, 3, 5, 4)])
def test_columns_are_found_by_name_in_any_order(tmp_path, names, order):
    assert plain(read(file_of(tmp_path, in_order(names, order)))) == WANTED


def test_an_index_written_by_pandas_is_left_out(tmp_path):
    rows = [f"{number},{row}" for number, row in enumerate(ROWS)]
    assert plain(read(file_of(tmp_path, "\n".join([f",{NAMES}", *rows])))) == WANTED


def test_single_trades_of_every_market(tmp_path):
    for names in ("id,price,qty,quote_qty,time,is_buyer_maker", "id,price,qty,base_qty,time,is_buyer_maker"):
        [trade] = read(file_of(tmp_path, f"{names}\n5,0.41224,1,242577.1395,1767571201696,true\n"))
        assert (trade.stream, trade.trade_id, trade.side) == ("trade", 5, "SELL")


def test_only_repeated_headers_of_joined_files_are_skipped(tmp_path):
    source = open_source(file_of(tmp_path, "\n".join([NAMES, ROWS[0], NAMES, ROWS[1], "exported by me", ROWS[2]])))
    lines = [raw.decode() for batch, _ in batches(source) for raw, _, _ in batch]
    assert lines == [ROWS[0], ROWS[1], "exported by me", ROWS[2]]
    with pytest.raises(RejectedRecord, match="missing_field"):
        source.format.parse("exported by me")


@pytest.mark.parametrize(
    ("text", "message_part"),
    [
        (NAMES.replace("price", "cost") + "\n" + ROWS[0], "a column for the price"),
        (NAMES.replace("is_buyer_maker", "taker") + "\n" + ROWS[0], "whether the buyer is the maker"),
        (NAMES.replace("first_trade_id,", "x,") + "\n" + ROWS[0], "the first trade id"),
        (NAMES.replace("is_best_match", "qty") + "\n" + ROWS[0], "'quantity' and 'qty'"),
        (NAMES, "a header without a row"),
        (NAMES + "\n\n\n", "a header without a row"),
        ("open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore\n1,1,1,1,1,1", "klines"),
        (NAMES + "\n" + "1.90099E+09,34651.4,0.258,4.24448E+09,4.24448E+09,1.69880E+12,TRUE,TRUE", "bad_id"),
        (NAMES + "\n" + '7,"34,651.4",0.258,9,10,1570752011620,TRUE,TRUE', "bad_number"),
        (NAMES + "\n" + "7,3.46514E+04,0.258,9,10,1570752011620,TRUE,TRUE", "bad_number"),
        (NAMES + "\n" + "7.0,34651.4,0.258,9.0,10.0,1570752011620.0,TRUE,TRUE", "bad_id"),
        (in_dialect([NAMES], ";") + "\n" + "7;34651,4;0,258;9;10;1570752011620;TRUE;TRUE", "bad_number"),
        (NAMES + "\n" + "7,34651.4,0.258,9,10,2019-10-11 00:00:11,TRUE,TRUE", "bad_time"),
        (NAMES + "\n" + "7,34651.4,0.258,9,10,1570752011,TRUE,TRUE", "bad_time"),
        (NAMES + "\n" + "7,34651.4,0.258,9,10,1570752011620,WAHR,WAHR", "wrong_type"),
        ("hello\nworld\n", "1 columns"),
        ("1,2,3,4,5,6,7\n", "7 columns"),
    ],
)  # fmt: skip
def test_unreadable_files_are_refused_with_a_reason(tmp_path, text, message_part):
    with pytest.raises(RejectedRecord, match="unknown_format") as caught:
        open_source(file_of(tmp_path, text))
    assert message_part in str(caught.value)
    assert caught.value.safe == "Nothing was sent."


def test_only_the_row_that_a_spreadsheet_changed_is_rejected(tmp_path):
    source = open_source(file_of(tmp_path, "\n".join([NAMES, ROWS[0], ROWS[1].replace("0.6", "6E-01"), ROWS[2]])))
    lines = [raw.decode() for batch, _ in batches(source) for raw, _, _ in batch]
    assert [source.format.parse(line).trade_id for line in (lines[0], lines[2])] == [7, 9]
    with pytest.raises(RejectedRecord, match="bad_number"):
        source.format.parse(lines[1])
    assert source.format.identify(lines[1].encode())[1].exchange_id == 8


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_refused_by_name(tmp_path, encoding):
    with pytest.raises(RejectedRecord, match="UTF-"):
        open_source(file_of(tmp_path, "\n".join([NAMES, *ROWS]), encoding))


def test_quotes_and_blanks_belong_to_no_cell():
    assert cells_of('"7", "a,b" ,8', ",") == ["7", "a,b", "8"]
    assert cells_of('"7,8', ",") == ["7,8"]
    with pytest.raises(RejectedRecord, match="wrong_type"):
        cells_of(f'"{"7" * 200_000}"', ",")
