# shellcheck shell=bash
# Sourced: compiling the extension for a server (a major, or one as 18-assert) in a container that matches it,
# and the final image.

# Prints the files (relative to the folder given) that decide what the extension is.
extension_inputs() { # folder
    local name
    (
        cd "$1" || exit
        find caliber-pg -type f ! -name '*.snap.new' ! -name '*~' ! -name '.*.sw?'
        for name in Cargo.toml Cargo.lock rust-toolchain.toml rust-toolchain .cargo/config.toml; do
            [[ ! -f $name ]] || echo "$name"
        done
    )
}

# The tag covers everything that goes into an image, so that an image of other sources cannot be taken
# for this one. FOLDER is where the sources are: the checkout, or the copy that is being built.
image_tag() { # folder, server, features
    local hash
    hash=$(
        {
            (cd "$1" && extension_inputs . | hash_files)
            (cd "$CONTAINERS" && find extension lib/extension.sh -type f | hash_files)
            base_hash "$2"
            (cd "$ROOT" && rustc -vV) # inside the workspace, so that a pinned toolchain counts
            echo "cargo-pgrx $CARGO_PGRX_VERSION, features $3"
        } | short_hash
    )
    echo "caliber-pg:$2-${3:+$3-}$hash"
}

# Copies the workspace below target/, so that an edit during the build cannot end up in an image whose
# tag does not know of it. Only files whose content differs are written, with the time of now: cargo
# goes by times, and must see exactly what changed since its last build.
copy_sources() {
    local copy=$OUT/src file members
    mkdir -p "$copy"
    cd "$ROOT" || return
    # The other members too: a workspace is not read without them.
    mapfile -t members < <(find . -mindepth 2 -maxdepth 2 -name Cargo.toml ! -path './target/*' -printf '%h\n')
    {
        extension_inputs .
        find "${members[@]}" -type f \( -name '*.rs' -o -name Cargo.toml \)
    } | sed 's#^\./##' | sort -u >"$OUT/src.list"
    while read -r file; do
        cmp -s "$file" "$copy/$file" && continue
        mkdir -p "$copy/$(dirname "$file")"
        cp --no-preserve=timestamps "$file" "$copy/$file"
    done <"$OUT/src.list"
    (cd "$copy" && find . -type f | sed 's#^\./##' | sort | comm -23 - "$OUT/src.list" | xargs -r -d '\n' rm -f)
    cd - >/dev/null || return
}

# Runs a command in the builder container of a server: no network, what cargo has fetched on the host
# is mounted read only, the copied sources are /src, and a folder below target/ is /out. Its
# user is the one who runs this, so that nothing below target/ belongs to somebody else.
# BUILDER_OPTIONS: further options of docker run.
BUILDER_OPTIONS=()
in_builder() { # server, folder for output, command…
    local server=$1 out=$2 cargo_home=${CARGO_HOME:-$HOME/.cargo} sysroot options=() bin
    bin=/usr/lib/postgresql/$(major_of "$server")/bin
    shift 2
    sysroot=$(cd "$ROOT" && rustc --print sysroot)
    [[ $sysroot != /usr ]] || die "a Rust toolchain of rustup's is needed (one in /usr cannot be mounted)"
    [[ ! -f $cargo_home/config.toml ]] || options+=(--volume "$cargo_home/config.toml:/cargo/config.toml:ro")
    docker run --rm --init --network none --user "$(id -u):$(id -g)" "${options[@]}" "${BUILDER_OPTIONS[@]}" \
        --tmpfs /cargo:mode=1777 --volume "$cargo_home/registry:/cargo/registry:ro" \
        --volume "$sysroot:/rust:ro" --volume "$(cargo_pgrx):/usr/local/bin/cargo-pgrx:ro" \
        --volume "$OUT/src:/src:ro" --volume "$out:/out" --workdir /src/caliber-pg \
        --env HOME=/out/home --env CARGO_HOME=/cargo --env CARGO_TARGET_DIR=/out --env CARGO_NET_OFFLINE=true \
        --env CARGO_INCREMENTAL=0 \
        --env CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}" --env "PGRX_PG_CONFIG_PATH=$bin/pg_config" \
        --env "PATH=/rust/bin:$bin:/usr/local/bin:/usr/bin:/bin" \
        "caliber-builder:$server-$(base_hash "$server")" "$@"
}

# The folder that cargo builds a server and variant in: for the image, the lints and the tests inside a
# server alike, since most of the work is in dependencies. Each has one of its own, because cargo gives
# the library of each the same name; a new one starts with what another holds, of the same release or an
# older one (what runs while compiling is in there too, and runs with a newer libc, not with an older).
need_target() { # server, features; leaves it in TARGET
    local sibling
    TARGET=$OUT/target-$1${2:+-$2}
    [[ ! -d $TARGET ]] || return 0
    base_source "$1"
    sibling=$(grep -lxF "$FROM_IMAGE" "$OUT"/target-*/release-of 2>/dev/null | sort | head -n 1) || true
    if [[ -z $sibling && $FROM_IMAGE = debian:trixie-slim ]]; then
        sibling=$(grep -lxF debian:bookworm-slim "$OUT"/target-*/release-of 2>/dev/null | sort | head -n 1) || true
    fi
    rm -rf "$TARGET.part"
    if [[ -n $sibling ]]; then
        cp -a --reflink=auto "$(dirname "$sibling")" "$TARGET.part"
        rm -rf "$TARGET.part/test-pgdata" # a server's data, not cargo's
    fi
    mkdir -p "$TARGET.part/home"
    echo "$FROM_IMAGE" >"$TARGET.part/release-of"
    mv "$TARGET.part" "$TARGET"
}

package_extension() { # server, features
    need_target "$1" "$2" || return
    local target=$TARGET major
    major=$(major_of "$1")
    rm -rf "$target/package"
    in_builder "$1" "$target" \
        cargo pgrx package --pg-config "/usr/lib/postgresql/$major/bin/pg_config" \
        --no-default-features --features "pg$major${2:+,$2}" --out-dir /out/package
}

cargo_pgrx() {
    local program=${CARGO_HOME:-$HOME/.cargo}/bin/cargo-pgrx
    if ! "$program" pgrx --version 2>/dev/null | grep -qF " $CARGO_PGRX_VERSION"; then
        die "cargo-pgrx $CARGO_PGRX_VERSION is missing; run \`containers/deps\`"
    fi
    echo "$program"
}

# Builds the image of a server if it is missing and leaves its tag in TAG. Call with the lock held.
need_image() { # server, features
    local context=$OUT/context/$1${2:+-$2} hash
    TAG=$(image_tag "$ROOT" "$1" "$2")
    ! have_image "$TAG" || return 0
    need_base "$1"
    hash=$(base_hash "$1")
    copy_sources
    TAG=$(image_tag "$OUT/src" "$1" "$2") # of what is built, whatever is edited meanwhile
    (cd "$ROOT" && step "crates" cargo fetch --locked)
    step "PostgreSQL $1: extension${2:+ with $2}" package_extension "$1" "$2"
    rm -rf "$context"
    mkdir -p "$context/rootfs/usr/local/bin"
    cp -R "$OUT/target-$1${2:+-$2}/package/." "$context/rootfs/"
    cp "$CONTAINERS/extension/entrypoint" "$context/rootfs/usr/local/bin/caliber-entrypoint"
    step "PostgreSQL $1: image $TAG" docker_build "$context" --file "$CONTAINERS/extension/Dockerfile" \
        --build-arg "BASE=caliber-base:$1-$hash" --tag "$TAG"
}
