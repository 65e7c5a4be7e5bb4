"""The steps of DAG `nightly_batch`.

They write to a branch, audit it and publish it, and find the nights that were missed.
"""
