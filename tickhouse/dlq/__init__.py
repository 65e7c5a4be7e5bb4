"""Dead letters: read them whoever wrote them, say what they mean, send them again once the cause is mended."""
