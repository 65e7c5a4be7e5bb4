"""Programs that benchmarks run in separate processes; each prints one JSON object."""
