// How the quote volume of the symbols with one quote asset is distributed.
// Parameters: market (spot or usdm); quote; from and to, first and last hour such as 2024-08-08T12, empty for no bound.
MATCH (:Asset {asset: $quote})<-[:QUOTE]-(pair:Pair)<-[:OF_PAIR]-(symbol:Symbol {market: $market}),
      (symbol)-[:TRADED_IN]->(traded:TradedHour)
WHERE ($from = '' OR traded.hour >= $from) AND ($to = '' OR traded.hour <= $to)
RETURN symbol.symbol AS symbol, pair.pair AS pair, count(traded) AS hours, sum(traded.trades) AS trades,
       collect(traded.quote_volume) AS quote_volumes
