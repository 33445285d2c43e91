# shellcheck shell=bash
# Sourced, in the builder image and by `containers/local`: compiles the pinned pgvector.

# No bitcode (it would need the very clang that built the server), and no -march=native, so that what
# is built runs on any machine of its architecture.
pgxs() { # directory, make arguments…
    local directory=$1
    shift
    make -s -C "$directory" -j"$(nproc)" USE_PGXS=1 PG_CONFIG="${PG_CONFIG:-pg_config}" with_llvm=no OPTFLAGS= "$@"
}

build_pgvector() { # working directory; leaves the compiled sources in its src/
    fetch_source pgvector "$PGVECTOR_SUITE" "$PGVECTOR_SHA256" "$1" || return
    grep -q "default_version = '$PGVECTOR_VERSION'" "$1/src/vector.control" || return
    if [[ $MAJOR = 18 ]]; then
        # pgvector supports 18 from 0.8.1 on. For 0.8.0 two uses of what changed in 18 are adapted;
        # nothing else differs between the majors.
        sed -i 's/vacuum_delay_point()/vacuum_delay_point(false)/' "$1"/src/src/*.c
        sed -i 's/buildstate->tupdesc->attrs\[0\]\./TupleDescAttr(buildstate->tupdesc, 0)->/' \
            "$1/src/src/ivfbuild.c"
    fi
    pgxs "$1/src"
}
