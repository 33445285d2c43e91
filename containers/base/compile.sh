#!/bin/bash
# Stage "builder": pgvector, and contrib modules where the server came without them. They are installed
# below /staging, from where the stage "base" takes them.
set -euo pipefail
. /caliber/apt.sh
. /caliber/pgvector.sh

# Packaged servers bring their contrib modules. The wheel brings none: for 18 they are compiled
# against it; for 16 no distribution has the source any more, and that is said, not hidden.
contrib() {
    [[ $SOURCE = wheel ]] || return 0
    if [[ $MAJOR != 18 ]]; then
        echo "contrib modules for $MAJOR: not covered"
        return 0
    fi
    # The suite moves on. Without these modules the server is still worth testing, so say it and go on.
    if ! fetch_source "postgresql-$MAJOR" "$SUITE_OF_18" "" /tmp/contrib; then
        echo "contrib modules for $MAJOR: NOT COVERED, no source package in $SUITE_OF_18" >&2
        return 0
    fi
    for module in $CONTRIB_MODULES; do
        pgxs "/tmp/contrib/src/contrib/$module"
        pgxs "/tmp/contrib/src/contrib/$module" DESTDIR=/staging install
        echo "contrib module for $MAJOR: $module"
    done
}

build_pgvector /tmp/pgvector
pgxs /tmp/pgvector/src DESTDIR=/staging install
contrib
rm -rf /tmp/pgvector /tmp/contrib /tmp/apt-with
# The builder has them too, and lets any user install, so that `cargo pgrx test` can run in it.
cp -a /staging/. /
chmod a+w "$(pg_config --pkglibdir)" "$(pg_config --sharedir)/extension"
