#!/bin/sh
# coturn with turnserver.conf, and what differs from machine to machine:
#
#   KAIWA_TURN_SECRET   what logins are made with; Kaiwa has the same
#   TURN_EXTERNAL_IP    the address outside, where a NAT gives this machine another: 198.51.100.7, or
#                       198.51.100.7/10.0.0.5 with its own
#   TURN_ALLOWED_PEER   Kaiwa's address, where that is a private one: nothing else private is reached
set -eu
: "${KAIWA_TURN_SECRET:?is empty in .env, and an empty one would let everybody in: openssl rand -hex 32}"
set -- -c "$(dirname "$0")/turnserver.conf" --realm="${TURN_REALM:-kaiwa}" \
    --static-auth-secret="$KAIWA_TURN_SECRET" "$@"
[ -z "${TURN_EXTERNAL_IP:-}" ] || set -- "$@" --external-ip="$TURN_EXTERNAL_IP"
[ -z "${TURN_ALLOWED_PEER:-}" ] || set -- "$@" --allowed-peer-ip="$TURN_ALLOWED_PEER"
exec turnserver "$@"
