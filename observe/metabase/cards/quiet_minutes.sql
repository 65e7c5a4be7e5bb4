-- Minutes without a trade in the 24 hours before the newest candle of each market. A symbol that seldom trades has many;
-- a symbol that usually trades each minute and has many is a sign of a gap.
WITH newest AS (
    SELECT market, max(open_time) AS open_time FROM market.candles_1m GROUP BY market
)
SELECT
    candles.market, candles.symbol,
    count(*) AS minutes_with_trades,
    1440 - count(*) AS minutes_without,
    max(candles.open_time) AS newest_candle
FROM market.candles
JOIN newest ON newest.market = candles.market AND candles.open_time > newest.open_time - interval '24 hours'
GROUP BY candles.market, candles.symbol
ORDER BY minutes_without DESC, candles.market, candles.symbol
LIMIT 500
