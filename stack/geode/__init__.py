"""Geode: our node, its regions, users and REST API."""
