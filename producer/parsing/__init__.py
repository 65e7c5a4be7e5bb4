"""Parse bytes into events.

- `frames`: WebSocket frames;
- `rest_and_csv`: REST objects and CSV lines;
- `source_files`: recorded files as batches of lines; `archives` unpacks them, `format_detection`
  detects their format, and `csv_layouts` finds the columns of a CSV file;
- `derived_columns`: compare columns that follow from price and quantity;
- `decimals`: decimal text to exact integers.
"""
