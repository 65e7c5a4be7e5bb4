-- Trades of the live candles against the published day. A difference means that one of them is incomplete: a day that was
-- not recorded live, or late trades that the next publication will bring.
WITH live AS (
    SELECT market, symbol, date_trunc('day', open_time, 'UTC') AS open_time, sum(trades) AS trades
    FROM market.candles
    WHERE open_time > (SELECT max(open_time) FROM gold.candles_1d) - interval '7 days'
    GROUP BY 1, 2, 3
)
SELECT
    (published.open_time AT TIME ZONE 'UTC')::date AS day,
    published.market, published.symbol,
    published.trades AS published_trades,
    coalesce(live.trades, 0) AS live_trades,
    coalesce(live.trades, 0) - published.trades AS difference
FROM gold.candles_1d AS published
LEFT JOIN live USING (market, symbol, open_time)
WHERE published.open_time > (SELECT max(open_time) FROM gold.candles_1d) - interval '7 days'
ORDER BY abs(coalesce(live.trades, 0) - published.trades) DESC, day DESC, market, symbol
LIMIT 500
