"""A Hadoop MapReduce example: the month's volume of each symbol, from the lake's silver in HDFS.

    python -m mapreduce.monthly_volume --ref main

Streaming: `mapper.py` and `reducer.py` are plain programs, lines in and lines out, so without Hadoop
`cat trades.tsv | ./mapper.py | sort | ./reducer.py` gives the same answer.
"""
