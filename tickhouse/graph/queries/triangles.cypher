// Triangular conversions: from one asset to another directly, and by way of a third one in the same hour.
// Parameters: market; hour such as 2024-08-08T12, empty for the newest.
CALL {
  MATCH (:Symbol {market: $market})-[:TRADED_IN]->(any:TradedHour)
  WHERE $hour = '' OR any.hour = $hour
  RETURN max(any.hour) AS hour
}
MATCH (from:Asset)<-[:BASE]-(straight:Pair)-[:QUOTE]->(to:Asset),
      (from)<-[one:BASE|QUOTE]-(first:Pair)-[:BASE|QUOTE]->(via:Asset)<-[:BASE|QUOTE]-(second:Pair)-[two:BASE|QUOTE]->(to)
WHERE via <> from AND via <> to
MATCH (straight)<-[:OF_PAIR]-(direct:Symbol {market: $market})-[:TRADED_IN]->(rate:TradedHour {hour: hour})
MATCH (first)<-[:OF_PAIR]-(leg1:Symbol {market: $market})-[:TRADED_IN]->(rate1:TradedHour {hour: hour})
MATCH (second)<-[:OF_PAIR]-(leg2:Symbol {market: $market})-[:TRADED_IN]->(rate2:TradedHour {hour: hour})
RETURN hour, from.asset AS from, via.asset AS via, to.asset AS to,
       direct.symbol AS direct, rate.close AS direct_rate,
       leg1.symbol AS first, rate1.close AS first_close, type(one) = 'QUOTE' AS is_first_inverse,
       leg2.symbol AS second, rate2.close AS second_close, type(two) = 'BASE' AS is_second_inverse
