#!/usr/bin/env bash
# Runs once, in the node that founds the cluster, before it listens on the network: the roles of docker-compose.yml and
# the database `shop`.
set -euo pipefail

: "${PGHERD_MONITOR_PASSWORD:?}" "${PGHERD_APP_PASSWORD:?}"

# psql quotes the passwords itself.
psql -X -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v monitor="$PGHERD_MONITOR_PASSWORD" -v app="$PGHERD_APP_PASSWORD" <<'SQL'
create role pgherd login replication password :'monitor';
grant pg_monitor to pgherd;
-- So that every role can log in through the proxies with its own password.
grant select on pg_authid to pgherd;
create role app login password :'app';
create database shop owner app;
SQL

echo 'host replication pgherd all scram-sha-256' >>"$PGDATA/pg_hba.conf"
