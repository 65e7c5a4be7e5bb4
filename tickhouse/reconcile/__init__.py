"""The independent checker: its own parsers, its own bars, nothing of producer/ or spark/ (a test sees to that)."""
