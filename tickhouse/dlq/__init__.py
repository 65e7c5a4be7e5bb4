"""Dead letters of every writer: list them, explain them, and send them again after a fix."""
