#!/bin/sh
# keys.sh HOST: an authority, and a certificate for the broker and the page on HOST; what is there stays.
set -eu
host=${1:?the name or address by which devices reach the broker}
cd "$(dirname "$0")"
umask 077
mkdir -p keys
cd keys
case $host in
*[!0-9.]*) name="DNS:$host" ;;
*) name="IP:$host" ;;
esac
if [ ! -f ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=edgepose fleet" -keyout ca.key -out ca.crt
fi
if [ ! -f server.key ]; then
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" -keyout server.key -out server.csr
    printf 'subjectAltName=%s,DNS:mosquitto\n' "$name" >server.ext
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile server.ext -out server.crt
fi
chmod 644 ca.crt server.crt
echo "Devices need keys/ca.crt; keep keys/ca.key away from them." >&2
