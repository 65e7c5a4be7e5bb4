"""Find one event in every system by its id."""
