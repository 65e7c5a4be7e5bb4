"""HDFS on one node: a name node and a data node."""
