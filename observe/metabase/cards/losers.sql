-- Largest losses of the newest published day of a market.
SELECT rank_loss AS rank, symbol, open, close, round(100 * change, 2) AS change_percent, quote_volume, quote, trades
FROM gold.top_movers
WHERE market = {{market}} AND open_time = (SELECT max(open_time) FROM gold.top_movers WHERE market = {{market}})
ORDER BY rank_loss, symbol
LIMIT 20
