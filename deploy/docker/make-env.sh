#!/bin/sh
# Writes .env from .env.example, with secrets of its own, and says what to open and how to log in.
set -eu
cd "$(dirname "$0")/../.."

if [ -e .env ]; then
    echo ".env is there already; it is left as it is." >&2
    exit 1
fi
secret() { # secret LENGTH
    LC_ALL=C tr -dc 'a-z2-9' </dev/urandom | head -c "$1"
}
password=$(secret 16)
umask 077
sed -e "s/^KBADMIN_ADMIN_PASSWORD=$/&$password/" \
    -e "s/^KBADMIN_API_KEY=$/&kb_$(secret 32)/" \
    -e "s/^POSTGRES_PASSWORD=$/&$(secret 24)/" .env.example >.env
cat <<END
Wrote .env. Now run: docker compose up --build --detach --wait
  kbadmin    http://localhost:8001/admin/    user admin, password $password
  NextChat   http://localhost:3000
END
