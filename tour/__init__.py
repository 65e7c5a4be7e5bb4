"""The recorded tour: a cast of the terminal, and pictures of the pages, from a real run."""
