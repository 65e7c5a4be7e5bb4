"""Benchmarks of Tickhouse, each against a floor measured in the same run on the same machine.

The floor is the least work that gives the same result, such as a plain loop, the store's own bulk
client or Kafka's load generator. The ratio ours / floor must keep to the benchmark's bound.
"""
