-- Realized volatility of one symbol, day by day.
SELECT (open_time AT TIME ZONE 'UTC')::date AS day, 100 * volatility AS volatility_percent
FROM gold.volatility
WHERE market = {{market}} AND symbol = {{symbol}}
ORDER BY day
LIMIT 2000
