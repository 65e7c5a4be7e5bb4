-- One row a column of a table: its type in the files, and the one that tables.yaml wants.
SELECT "table", "column", type_wanted, type_found FROM columns_found
