"""The streaming queries seen from outside: their state, their lost offsets, their repair."""
