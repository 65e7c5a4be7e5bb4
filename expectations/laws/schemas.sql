-- One row per column of a table: its type in the files, and the type in expectations/tables.yaml.
SELECT "table", "column", type_wanted, type_found FROM columns_found
