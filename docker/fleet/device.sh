#!/bin/sh
# device.sh NAME...: a user of the broker for each device, and the lines that belong into its environment
# (/etc/default/edgepose). Again for the same name: other passwords for the broker, the same for poses.
set -eu
cd "$(dirname "$0")"
. ./passwd.sh
. ./.env
[ $# -gt 0 ] || { echo "usage: device.sh NAME..." >&2; exit 2; }
for name in "$@"; do
    case $name in
    "" | .* | *[!A-Za-z0-9._-]*) echo "device.sh: $name is no name: letters, digits, '-', '_' and '.'." >&2; exit 2 ;;
    collector) echo "device.sh: collector is the user of the collector." >&2; exit 2 ;;
    esac
    password=$(openssl rand -hex 16)
    broker_user "$name" "$password"
    poses=$(printf %s "$name" | openssl dgst -sha256 -hmac "$EDGEPOSE_POSES_KEY" | sed 's/.*= *//')
    echo "# $name"
    echo "EDGEPOSE_FLEET=mqtts://$name:$password@$FLEET_HOST/?ca=/etc/edgepose/ca.crt"
    echo "EDGEPOSE_FLEET_POSES=https://$name:$poses@$FLEET_HOST:8443/?ca=/etc/edgepose/ca.crt"
done
echo "The broker reads its users anew at: docker compose -f docker/fleet/compose.yaml kill --signal HUP mosquitto" >&2
