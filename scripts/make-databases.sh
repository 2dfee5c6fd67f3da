#!/bin/sh
# Create two databases, Airflow's and the ledger's, each with a user who may connect to no other one. PostgreSQL's image
# runs this once, when its data directory is empty.
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv airflow AIRFLOW_DATABASE_PASSWORD
\getenv sluice SLUICE_LEDGER_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE ROLE sluice LOGIN PASSWORD :'sluice';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE sluice OWNER sluice;
REVOKE CONNECT ON DATABASE airflow, sluice, postgres FROM PUBLIC;
SQL
