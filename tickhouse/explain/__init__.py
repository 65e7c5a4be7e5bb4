"""Follow one event id through every system."""
