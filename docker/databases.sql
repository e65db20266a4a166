-- Run once by the postgres image, where its volume is empty: two databases of one role that owns nothing else.
\getenv password POSTGRES_PASSWORD
CREATE ROLE merit LOGIN PASSWORD :'password';
CREATE DATABASE studies OWNER merit;
CREATE DATABASE mlflow OWNER merit;
REVOKE CONNECT ON DATABASE studies, mlflow, postgres FROM PUBLIC;
-- The superuser works through the container's own socket alone.
ALTER ROLE postgres PASSWORD NULL;
