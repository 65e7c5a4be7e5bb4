-- The largest daily moves of the last 30 published days, up or down.
SELECT
    (open_time AT TIME ZONE 'UTC')::date AS day,
    symbol, open, close,
    round(100 * change, 2) AS change_percent
FROM gold.top_movers
WHERE market = {{market}}
  AND open_time > (SELECT max(open_time) FROM gold.top_movers WHERE market = {{market}}) - interval '30 days'
ORDER BY abs(change) DESC, day DESC, symbol
LIMIT 50
