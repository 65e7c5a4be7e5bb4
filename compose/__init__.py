"""What only the composed stack needs; everything else is shared with `tickhouse up`."""
