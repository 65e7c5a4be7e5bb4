"""Logs of all programs: their lines become fields of the Elastic Common Schema, and are searched."""
