#!/usr/bin/env bash
# Makes every secret of the containers, a file each, readable by their user alone; what is there is never overwritten.
#
#   docker/secrets/generate_secrets.sh                  make what is missing
#   docker/secrets/generate_secrets.sh --check          is each there, long enough, and private? (exit code 1: no)
#   docker/secrets/generate_secrets.sh --rotate NAME    a new value; afterwards: docker-compose up -d --force-recreate
#   docker/secrets/generate_secrets.sh --finish NAME    forget the previous jwt_secret_primary or rag_db_key
#   docker/secrets/generate_secrets.sh --backups        begin with backups: shows their recovery code, this once
#
# NEMO_SECRETS names another folder. As root the files are given to NEMO_UID:NEMO_GID (10001), which the containers run
# as; as an ordinary user the containers run as that user. docker/.env tells compose which.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
folder=${NEMO_SECRETS:-$here}
settings=${NEMO_ENV_FILE:-$here/../.env}
services=(api-gateway gemma gpu-coordinator transcription rag emotion tts)
random=(jwt_secret_primary session_key users_db_key rag_db_key email_db_key postgres_password redis_password scrape_token grafana_password)
may_be_empty=(jwt_secret_previous rag_db_key_previous huggingface_token backup_public_key)

fail() { echo "!!  $*" >&2; exit 1; }
command -v openssl > /dev/null || fail "openssl is needed (Debian: apt-get install openssl)."

known() { sed -n "s/^$1=//p" "$settings" 2> /dev/null | tail -n 1 || true; }
if [ "$(id -u)" = 0 ]; then uid=${NEMO_UID:-$(known NEMO_UID)}; gid=${NEMO_GID:-$(known NEMO_GID)}; uid=${uid:-10001}; gid=${gid:-$uid}
else uid=$(id -u); gid=$(id -g); fi

put() { # NAME < value: whole or not at all, 0600, owned by the containers' user
  cat > "$folder/.$1.part"
  own "$folder/.$1.part"
  mv "$folder/.$1.part" "$folder/$1"
}
own() { if [ "$(id -u)" = 0 ]; then chown "$uid:$gid" "$1"; fi; }
fresh() { openssl rand -base64 48 | tr -d '\n=' | tr '+/' '-_'; }

service_key() { # SERVICE: the private key as a secret, the public one for all to read
  openssl genpkey -algorithm ed25519 > "$folder/.key.part"
  openssl pkey -in "$folder/.key.part" -pubout > "$folder/public_keys/.$1.part"
  own "$folder/.key.part"; chmod 0644 "$folder/public_keys/.$1.part"
  mv "$folder/public_keys/.$1.part" "$folder/public_keys/$1.pub"
  mv "$folder/.key.part" "$folder/service_key_$1"
}

generate() {
  mkdir -p "$folder/public_keys"; chmod 0755 "$folder/public_keys"
  for name in "${random[@]}"; do [ -e "$folder/$name" ] || { fresh | put "$name"; echo "made $name"; }; done
  for name in "${may_be_empty[@]}"; do [ -e "$folder/$name" ] || put "$name" < /dev/null; done
  [ -e "$folder/postgres_user" ] || printf nemo | put postgres_user
  for each in "${services[@]}"; do [ -e "$folder/service_key_$each" ] || { service_key "$each"; echo "made service_key_$each"; }; done
  if [ -z "$(known NEMO_UID)" ]; then printf 'NEMO_UID=%s\nNEMO_GID=%s\n' "$uid" "$gid" >> "$settings"; fi
  if [ "$(known NEMO_UID)" != "$uid" ]; then fail "$settings says NEMO_UID=$(known NEMO_UID), and these files belong to $uid. Make them one."; fi
}

check() {
  bad=0
  complain() { echo "!!  $*" >&2; bad=1; }
  for name in "${random[@]}" "${may_be_empty[@]}" postgres_user "${services[@]/#/service_key_}"; do
    file=$folder/$name
    if [ ! -f "$file" ]; then complain "$name is missing; run $0"; continue; fi
    [ "$(stat -c %a "$file")" = 600 ] || complain "$name can be read by others; run: chmod 600 '$file'"
    [ "$(stat -c %u "$file")" = "$uid" ] || complain "$name belongs to user $(stat -c %u "$file"), not to $uid; run: chown $uid '$file'"
  done
  for name in "${random[@]}"; do
    length=$(wc -c < "$folder/$name" 2> /dev/null || echo 0)
    if [ -f "$folder/$name" ] && [ "$length" -lt 32 ]; then complain "$name has $length characters; at least 32 are needed"; fi
  done
  for each in "${services[@]}"; do
    [ "$(openssl pkey -in "$folder/service_key_$each" -pubout 2> /dev/null)" = "$(cat "$folder/public_keys/$each.pub" 2> /dev/null)" ] \
      || complain "public_keys/$each.pub does not belong to service_key_$each; run: $0 --rotate service_key_$each"
  done
  return "$bad"
}

keep_as_previous() { # NAME PREVIOUS
  [ ! -s "$folder/$2" ] || fail "$2 is still in use. $3"
  put "$2" < "$folder/$1"
  fresh | put "$1"
}

rotate() {
  [ -e "$folder/$1" ] || fail "There is no secret $1 in $folder."
  case $1 in
    jwt_secret_primary)
      keep_as_previous "$1" jwt_secret_previous "Once it is older than an access token lives (15 minutes), run: $0 --finish $1"
      echo "Tokens of the old key stay good. Now: docker-compose up -d --force-recreate api-gateway; in 15 minutes: $0 --finish $1" ;;
    rag_db_key)
      keep_as_previous "$1" rag_db_key_previous "Run nemo rekey first, then: $0 --finish $1"
      echo "Both keys are valid. Now recreate api-gateway, transcription and rag, run nemo rekey, then: $0 --finish $1" ;;
    session_key | users_db_key | email_db_key)
      fail "$1 cannot be changed: passwords or databases made with it could not be read any more." ;;
    service_key_*)
      case " ${services[*]} " in *" ${1#service_key_} "*) ;; *) fail "There is no service ${1#service_key_}." ;; esac
      service_key "${1#service_key_}"; echo "Now recreate all containers." ;;
    jwt_secret_previous | rag_db_key_previous | huggingface_token | postgres_user) fail "$1 is not made by chance; write it yourself." ;;
    *) fresh | put "$1"; echo "Now recreate all containers: docker-compose up -d --force-recreate" ;;
  esac
}

finish() {
  case $1 in
    jwt_secret_primary) put jwt_secret_previous < /dev/null ;;
    rag_db_key) put rag_db_key_previous < /dev/null ;;
    *) fail "--finish is for jwt_secret_primary and rag_db_key." ;;
  esac
}

# By the platform's own program, in a container that has nothing else. The file keeps its place: containers hold on to it.
backups() {
  [ -e "$folder/backup_public_key" ] || put backup_public_key < /dev/null
  [ ! -s "$folder/backup_public_key" ] || fail "There is a backup key already; archives so far need its recovery code. To begin with another: : > '$folder/backup_public_key'"
  made=$(mktemp -d); trap 'rm -rf "$made"' EXIT; own "$made"
  image=${NEMO_REGISTRY:-$(known NEMO_REGISTRY)}; version=${NEMO_VERSION:-$(known NEMO_VERSION)}
  docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges:true --user "$uid:$gid" \
    --volume "$made:/made" --env SECRETS_DIR=/made "${image:-nemo-server}/speech:${version:-0.1.0}" nemo backup --init \
    || fail "No key was made. Are the images built (docker-compose -f docker/compose.yaml build)?"
  cat "$made/backup_public_key" > "$folder/backup_public_key"
  echo "The container \`backup\` makes the first archive within a minute."
}

case ${1:-} in
  "") generate; check ;;
  --check) check ;;
  --rotate) rotate "${2:?which secret?}" ;;
  --backups) backups ;;
  --finish) finish "${2:?which secret?}" ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
