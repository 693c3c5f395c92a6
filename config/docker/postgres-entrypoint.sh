#!/usr/bin/env bash
# Starts a node of docker-compose.yml: with an empty data directory as a copy of whichever node is the primary, or, if
# none is and this is the node that founds the cluster, as a new cluster; else as what it was. Standbys follow the
# primary wherever it moves.
#
#   PGHERD_NODES               all nodes' host names, separated by commas
#   PGHERD_NODE                this node's name
#   PGHERD_FOUNDS_CLUSTER      not empty on exactly one node
#   PGHERD_MONITOR_PASSWORD    the role pgherd, which standbys stream with
#   POSTGRES_PASSWORD          the superuser postgres
#
# To bring an old primary back: docker compose rm -sfv pg-eu && docker volume rm pgherd_pg-eu && docker compose up -d pg-eu
set -euo pipefail

: "${PGHERD_NODES:?}" "${PGHERD_NODE:?}" "${PGHERD_MONITOR_PASSWORD:?}" "${PGDATA:?}"

# Not among the arguments of any process, which everybody can read.
passfile=/var/lib/postgresql/pgherd.pgpass
install -o postgres -g postgres -m 600 /dev/null "$passfile"
printf '*:*:*:pgherd:%s\n' "$PGHERD_MONITOR_PASSWORD" >"$passfile"

conninfo="host=$PGHERD_NODES user=pgherd passfile=$passfile application_name=$PGHERD_NODE"
conninfo+=" target_session_attrs=primary connect_timeout=3"

copy_primary() {
    gosu postgres pg_basebackup --dbname "$conninfo" --pgdata "$PGDATA" --wal-method=stream --checkpoint=fast --no-password
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    until copy_primary; do
        if [ -n "${PGHERD_FOUNDS_CLUSTER:-}" ]; then break; fi
        find "$PGDATA" -mindepth 1 -delete
        sleep 1
    done
    if [ -s "$PGDATA/PG_VERSION" ]; then install -o postgres -g postgres -m 600 /dev/null "$PGDATA/standby.signal"; fi
fi

# The image's own entrypoint makes the new cluster, and then runs the server as the user postgres.
exec docker-entrypoint.sh postgres \
    -c "cluster_name=$PGHERD_NODE" \
    -c "primary_conninfo=$conninfo" \
    -c wal_log_hints=on \
    -c wal_keep_size=512MB \
    -c max_connections=200 \
    -c hot_standby_feedback=on \
    -c wal_retrieve_retry_interval=500ms \
    "$@"
