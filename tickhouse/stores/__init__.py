"""Connections to the stores of profile `sinks`: one place for logins, time-outs and what an outage is called."""
