"""Replay of recorded files and backfill by REST, from the command to the stores."""
