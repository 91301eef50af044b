#!/bin/sh
# Makes the secrets of a new meter: meter.env for the aggregator and edge.env for the edge, below the folder that is named.
# It never overwrites: whoever has lost secrets has to know it. Others may not read the files.
set -eu
folder=${1:?the folder, such as /etc/palveron}
umask 077
mkdir -p "$folder"
for name in meter.env edge.env; do
  if [ -e "$folder/$name" ]; then
    echo "$folder/$name is there already: nothing was changed" >&2
    exit 1
  fi
done
secret() { openssl rand -hex 32; }
keys=1:$(secret)
edge=edge:e1:$(secret)
policy=policy:p1:$(secret)
upstream=upstream:u1:$(secret)
# The edge signs flushes and what it forwards, and verifies policies; the aggregator has no use for the upstream's key.
cat >"$folder/edge.env" <<END
METER_KEY_SECRETS=$keys
METER_SIGNING_KEYS=$edge,$policy,$upstream
METER_METRICS_TOKEN=$(secret)
END
cat >"$folder/meter.env" <<END
METER_KEY_SECRETS=$keys
METER_SIGNING_KEYS=$edge,$policy
METER_SECRET_KEY=1:$(secret)
END
echo "$folder/meter.env and $folder/edge.env were written; back them up apart from the books" >&2
