"""Save a home to a folder while its services are stopped, and make a home from such a folder."""
