"""A Hadoop MapReduce example: the volume per symbol and month, from silver of the lake in HDFS.

    python -m mapreduce.monthly_volume --ref main

It uses Hadoop streaming: `mapper.py` and `reducer.py` are plain programs that read and write lines.
Without Hadoop, `cat trades.tsv | ./mapper.py | sort | ./reducer.py` gives the same result.
"""
