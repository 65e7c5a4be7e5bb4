"""Write a day of silver trades: DuckDB generates them, the batch's writer writes the files.

python -m bench.workers.generated FOLDER TRADES
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from spark.batch.files import LakeFiles, hour_writer

SYMBOLS = 24
# A day of 24 symbols. Prices follow a sine, so that dictionaries and constant pages do not make the
# files unrealistically small. Sorted as silver is: by hour, symbol, id.
QUERY = """
SELECT
    'binance:spot:' || symbol || ':aggTrade:' || trade_id AS event_id, 'BINANCE' AS exchange, 'spot' AS market,
    'aggTrade' AS stream, symbol, trade_id, trade_id * 3 AS first_trade_id,
    trade_id * 3 + trade_id % 3 AS last_trade_id,
    price, qty, CASE WHEN hash(trade_id) % 2 = 0 THEN 'BUY' ELSE 'SELL' END AS side, trade_time,
    left(symbol, 3) AS base, 'USDT' AS quote, left(symbol, 3) || '-USDT' AS pair,
    (price * qty)::DECIMAL(38, 16) AS quote_qty, price <= 0 AS is_sentinel,
    make_timestamptz(epoch_us(trade_time) // 60000000 * 60000000) AS minute,
    make_timestamptz(epoch_us(trade_time) // 3600000000 * 3600000000) AS bucket, trade_time AS event_time,
    'SIMULATED' AS source
FROM (
    SELECT
        'S' || lpad((n % {symbols})::VARCHAR, 2, '0') || 'USDT' AS symbol, 3000000000 + n // {symbols} AS trade_id,
        (60000 + 900 * sin(n / 50000.0) + (hash(n) % 1000) / 100.0)::DECIMAL(28, 8) AS price,
        ((hash(n + 1) % 5000000 + 1) / 100000.0)::DECIMAL(28, 8) AS qty,
        make_timestamptz(1723075200000000 + (n // {symbols}) * (86400000000 // ({trades} // {symbols} + 1)))
            AS trade_time
    FROM range({trades}) AS t(n)
)
ORDER BY bucket, symbol, trade_id
"""


def main(folder: str, trades: str) -> None:
    """Write the files."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    reader = connection.sql(QUERY.format(symbols=SYMBOLS, trades=int(trades))).to_arrow_reader(65_536)
    for _ in hour_writer(LakeFiles.local(Path(folder)), "silver/trades", "bucket")(reader):
        pass
    print("{}")


if __name__ == "__main__":
    main(*sys.argv[1:])
