-- One row per topic: the row count in the metadata of all commits, and in the manifests that they name.
SELECT topic, rows_in_commits, rows_in_manifests, missing_manifests FROM commits
