"""Fetch from REST what a live stream lost, while the stream continues.

- `gap_filling`: fill gaps, and compare the end of each stream with the exchange's after a
  reconnect;
- `silent_streams`: find streams that send nothing although their market trades;
- `rejected_ids`: request ids whose frame was rejected, once;
- `rest_pages`: one page of trades by id, and which ids REST does not serve.
"""
