"""Spark applications: the streaming job and its pure transforms."""
