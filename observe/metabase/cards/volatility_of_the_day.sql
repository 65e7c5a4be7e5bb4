-- Realized volatility (of 1-minute returns) and span (high minus low, of the open) of the newest published day.
SELECT
    symbol,
    round(100 * volatility, 4) AS volatility_percent,
    round(100 * span, 2) AS span_percent,
    returns
FROM gold.volatility
WHERE market = {{market}} AND open_time = (SELECT max(open_time) FROM gold.volatility WHERE market = {{market}})
ORDER BY volatility DESC, symbol
LIMIT 200
