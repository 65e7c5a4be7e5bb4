-- Days of each symbol in the published lake. A missing day lies between its first and its last day.
SELECT
    market, symbol,
    min((open_time AT TIME ZONE 'UTC')::date) AS first_day,
    max((open_time AT TIME ZONE 'UTC')::date) AS last_day,
    count(*) AS days,
    1 + max((open_time AT TIME ZONE 'UTC')::date) - min((open_time AT TIME ZONE 'UTC')::date) - count(*) AS missing_days,
    count(*) FILTER (WHERE trades = 0) AS days_without_trades
FROM gold.candles_1d
GROUP BY market, symbol
ORDER BY missing_days DESC, market, symbol
LIMIT 500
