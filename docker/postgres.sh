#!/bin/sh
# A cluster on the first start, then the server; told by the same variables as the official image:
# PGDATA, POSTGRES_USER_FILE, POSTGRES_PASSWORD_FILE, POSTGRES_DB.
set -eu
user=$(cat "$POSTGRES_USER_FILE")
alone() { # SQL on standard input, to a server that nobody else can reach
  postgres --single -D "$1" -c log_min_error_statement=panic -c wal_recycle=off postgres > /dev/null
}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  part="$PGDATA.part" # whole or absent: a first start that was killed begins again
  rm -rf "$part"
  initdb -D "$part" -U "$user" --auth=scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --locale=C \
    --no-instructions
  printf 'CREATE DATABASE "%s"\n' "$POSTGRES_DB" | alone "$part"
  echo 'host all all all scram-sha-256' >> "$part/pg_hba.conf"
  mv "$part" "$PGDATA"
fi
rm -f "$PGDATA/postmaster.pid" # of a server that was killed: nothing else runs in this container
# The password is the secret's, also after that was rotated.
printf 'ALTER ROLE "%s" PASSWORD '"'%s'"'\n' "$user" "$(sed "s/'/''/g" "$POSTGRES_PASSWORD_FILE")" | alone "$PGDATA"
exec "$@"
