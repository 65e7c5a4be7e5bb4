"""The Spark applications: the streaming job, the nightly batch, and what both share."""
