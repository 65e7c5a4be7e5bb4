-- Volume of each day, split by the side of the taker.
SELECT
    (open_time AT TIME ZONE 'UTC')::date AS day,
    taker_buy_volume AS bought_by_takers,
    volume - taker_buy_volume AS sold_by_takers
FROM gold.candles_1d
WHERE market = {{market}} AND symbol = {{symbol}}
ORDER BY day
LIMIT 2000
