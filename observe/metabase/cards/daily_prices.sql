-- Close of each day between its low and its high.
SELECT (open_time AT TIME ZONE 'UTC')::date AS day, low, close, high
FROM gold.candles_1d
WHERE market = {{market}} AND symbol = {{symbol}}
ORDER BY day
LIMIT 2000
