-- Daily candles of one symbol from the published lake, newest first.
SELECT
    (open_time AT TIME ZONE 'UTC')::date AS day,
    open, high, low, close, vwap, volume, quote_volume, trades
FROM gold.candles_1d
WHERE market = {{market}} AND symbol = {{symbol}}
ORDER BY day DESC
LIMIT 1000
