#!/bin/bash
# Stage "base": a cluster prepared once, which the entrypoint unpacks when nobody asks for another
# locale, superuser or initdb option. initdb takes a second; unpacking takes a tenth.
set -euo pipefail
. /caliber/apt.sh
sample=$(pg_config --sharedir)/postgresql.conf.sample

# Written into the sample, so that a cluster made at start has them too. The second socket is where
# clients look that were compiled with PostgreSQL's own default.
cat >>"$sample" <<'CONF'

# Container defaults.
listen_addresses = '*'
unix_socket_directories = '/var/run/postgresql, /tmp'
CONF

# Data checksums everywhere, as 18 does by default: a torn page must not pass for a good one.
install -d -o postgres -g postgres /tmp/cluster
setpriv --reuid=postgres --regid=postgres --init-groups \
    initdb --pgdata=/tmp/cluster --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --data-checksums --auth=trust >/dev/null
# One small file: a layered file system takes a second for forty megabytes, or for a thousand files.
mkdir -p /usr/lib/caliber
tar -C /tmp/cluster -czf /usr/lib/caliber/cluster.tar.gz .
rm -rf /tmp/cluster /caliber
