"""Deploys the files of `connectors/` to the Connect worker and watches what becomes of them."""
