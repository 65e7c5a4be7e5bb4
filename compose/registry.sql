-- Create the role and database of the schema registry, at the first start of the PostgreSQL volume.
\getenv password REGISTRY_PASSWORD
CREATE ROLE registry LOGIN PASSWORD :'password';
CREATE DATABASE registry OWNER registry;
REVOKE CONNECT, TEMPORARY ON DATABASE registry FROM PUBLIC;
