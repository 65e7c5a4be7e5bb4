-- Symbols with the highest turnover of the newest published day. The rank compares symbols of one quote asset.
SELECT quote, rank_turnover AS rank, symbol, quote_volume, trades
FROM gold.top_movers
WHERE market = {{market}} AND open_time = (SELECT max(open_time) FROM gold.top_movers WHERE market = {{market}})
ORDER BY rank_turnover, symbol
LIMIT 20
