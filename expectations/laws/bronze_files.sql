-- One row a file that a manifest names: it is there, as long as the manifest says.
SELECT path, "rows" AS rows_named, rows_found FROM named_files
