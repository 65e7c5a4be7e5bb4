-- The schema registry's own role and database, at the first start of the PostgreSQL volume.
\getenv password REGISTRY_PASSWORD
CREATE ROLE registry LOGIN PASSWORD :'password';
CREATE DATABASE registry OWNER registry;
REVOKE CONNECT, TEMPORARY ON DATABASE registry FROM PUBLIC;
