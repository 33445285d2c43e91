# shellcheck shell=bash
# Sourced by the commands of this folder: where things are, progress, one lock.

CONTAINERS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(cd "$CONTAINERS/.." && pwd)
# Everything that is made goes below the workspace's target folder, which git ignores.
OUT=${CARGO_TARGET_DIR:-$ROOT/target}/containers
[[ $OUT = /* ]] || OUT=$ROOT/$OUT
# shellcheck source=containers/versions.sh
. "$CONTAINERS/versions.sh"

QUIET=${QUIET:-}

say() { # progress is for people: stderr, so that the last line of stdout stays the result
    [[ -n $QUIET ]] || printf '%s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The last line of a log that says something to people (docker colours and numbers its own).
last_line() {
    tail -n 20 "$1" 2>/dev/null | tr -d '\r' | sed -E 's/\x1b\[[0-9;]*m//g; s/^ +//; /^(--->|Removing|$)/d' |
        tail -n 1 | cut -c1-100
}

# Runs a long command with its output in a log file: one line when it starts, one every 20 seconds,
# one when it ends. On failure the end of the log is shown even with --quiet. (In a function that is
# called through this, a failing command does not end the function by itself.)
step() { # title, command…
    local title=$1 log started=$SECONDS watcher status=0
    shift
    mkdir -p "$OUT/log"
    log=$OUT/log/$(tr -cs 'A-Za-z0-9.' '-' <<<"$title")$$.log
    say "$title …"
    (
        while sleep 20; do
            say "$title … $((SECONDS - started)) s: $(last_line "$log")"
        done
    ) 9>&- & # its sleep outlives it, and must not keep the lock
    watcher=$!
    "$@" >"$log" 2>&1 </dev/null || status=$?
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    if ((status)); then
        tail -n 40 "$log" >&2
        die "$title failed after $((SECONDS - started)) s; all of its output: $log"
    fi
    say "$title: $((SECONDS - started)) s"
}

# One build at a time: two would share two cores, cargo's folders and half-written images.
take_lock() {
    mkdir -p "$OUT"
    exec 9>"$OUT/lock"
    if ! flock --nonblock 9; then
        say "another build is running here; waiting for it"
        flock 9
    fi
}

need_docker() {
    command -v docker >/dev/null || die "no docker command here; try \`containers/deps\`"
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ||
        die "no Docker engine answers; try \`containers/deps\`"
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# A hash of the names and contents of files (absolute or relative to the working directory).
hash_files() { LC_ALL=C sort | xargs -r -d '\n' sha256sum | sha256sum | cut -c1-64; }

short_hash() { sha256sum | cut -c1-12; }

is_major() {
    local major
    for major in "${MAJORS[@]}"; do [[ $major = "$1" ]] && return 0; done
    return 1
}

major_of() { echo "${1%-assert}"; } # server

# What has images of its own: a major, or, where a distribution has the sources, one with assertions on.
is_server() { is_major "$(major_of "$1")" && [[ $1 != 16-assert ]]; }

sudo_if_needed() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}
