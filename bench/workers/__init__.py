"""Programs that the benchmarks run in processes of their own: each prints one JSON object."""
