#!/bin/sh
# keys.sh HOST: an authority, a certificate for the broker and the page on HOST, and .env with the secrets of the
# services; what is there stays.
set -eu
host=${1:?the name or address by which devices reach the broker}
cd "$(dirname "$0")"
. ./passwd.sh
umask 077
mkdir -p keys
case $host in
*[!0-9.]*) name="DNS:$host" ;;
*) name="IP:$host" ;;
esac
if [ ! -f keys/ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=edgepose fleet" -keyout keys/ca.key -out keys/ca.crt
fi
if [ ! -f keys/server.key ]; then
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" -keyout keys/server.key -out keys/server.csr
    printf 'subjectAltName=%s,DNS:mosquitto\n' "$name" >keys/server.ext
    openssl x509 -req -in keys/server.csr -CA keys/ca.crt -CAkey keys/ca.key -CAcreateserial -days 825 -extfile keys/server.ext -out keys/server.crt
fi
chmod 644 keys/ca.crt keys/server.crt
if [ ! -f .env ]; then
    echo "FLEET_HOST=$host" >.env.new
    for secret in COLLECTOR_PASSWORD DATABASE_PASSWORD EDGEPOSE_TOKEN EDGEPOSE_POSES_KEY; do
        echo "$secret=$(openssl rand -hex 16)" >>.env.new
    done
    mv .env.new .env
fi
. ./.env
broker_user collector "$COLLECTOR_PASSWORD"
echo "Devices need keys/ca.crt; keep keys/ca.key away from them. The page's token is EDGEPOSE_TOKEN in .env." >&2
