"""Logs of all programs: lines become fields of the Elastic Common Schema, and are searched."""
