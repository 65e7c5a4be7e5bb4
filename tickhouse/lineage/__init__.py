"""Which run made which data from what: OpenLineage events, and how to walk them."""
