-- One row a topic: rows by the metadata of all commits against rows by the manifests that they name.
SELECT topic, rows_in_commits, rows_in_manifests, missing_manifests FROM commits
