"""Neo4j: the graph of exchanges, markets, assets, pairs and symbols."""
