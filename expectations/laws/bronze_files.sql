-- One row per file that a manifest names: the file exists, and has the number of rows that the manifest records.
SELECT path, "rows" AS rows_named, rows_found FROM named_files
