"""Sets Metabase up from the files of `observe/metabase`: login, connection, cards, dashboards."""
