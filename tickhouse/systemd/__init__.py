"""A systemd unit that starts this home at boot, and stops it cleanly."""
