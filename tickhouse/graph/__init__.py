"""The graph in Neo4j: exchange, markets, assets, pairs, symbols, and their hours of trading."""
