// Which assets connect two pairs: an asset that both have, or one that a pair on each side reaches.
// Parameters: left and right, pairs such as BTC-USDT.
MATCH (:Pair {pair: $left})-[:BASE|QUOTE]->(asset:Asset)<-[:BASE|QUOTE]-(:Pair {pair: $right})
RETURN asset.asset AS asset, [] AS through
UNION
MATCH (left:Pair {pair: $left})-[:BASE|QUOTE]->(near:Asset)<-[:BASE|QUOTE]-(first:Pair)-[:BASE|QUOTE]->(asset:Asset),
      (asset)<-[:BASE|QUOTE]-(second:Pair)-[:BASE|QUOTE]->(far:Asset)<-[:BASE|QUOTE]-(right:Pair {pair: $right})
WHERE near <> far AND NOT (left)-[:BASE|QUOTE]->(asset) AND NOT (right)-[:BASE|QUOTE]->(asset)
RETURN asset.asset AS asset, [first.pair, second.pair] AS through
