"""The engine starts, watches and stops the services of one home with supervisord.

`lifecycle.up` and `lifecycle.down` start and stop, `service_status.status` reports. Nothing is
imported here, so that the command line starts quickly.
"""
