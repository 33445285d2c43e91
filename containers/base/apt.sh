# shellcheck shell=bash
# Sourced inside the image: packages and source packages, from the mirror of the building machine.
export DEBIAN_FRONTEND=noninteractive
if [[ -f /caliber/settings ]]; then
    . /caliber/settings    # MAJOR, SOURCE, MIRROR
    . /caliber/versions.sh # what is pinned
    # Where every server puts its programs, or is put.
    PATH=/usr/lib/postgresql/$MAJOR/bin:$PATH
fi

# The mirror that this image uses for its own suite (deb822 and one-line formats both occur).
own_mirror() {
    find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec cat {} + 2>/dev/null |
        sed -nE 's/^URIs:[[:space:]]*([^[:space:]]+\/debian)\/?([[:space:]].*)?$/\1/p
                 s/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+\/debian)\/?[[:space:]].*/\2/p' |
        sort -u | head -n 1
}

# With $MIRROR given, Debian's own entries are replaced; others (a vendor's repository) stay.
use_mirror() {
    if [[ -n "${MIRROR:-}" ]]; then
        local codename
        codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
        rm -f /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources
        {
            echo "deb $MIRROR $codename main"
            echo "deb $MIRROR $codename-updates main"
        } >/etc/apt/sources.list
        # The security archive lies beside the main one on every mirror that carries it.
        if apt_reaches "$MIRROR-security" "$codename-security"; then
            echo "deb $MIRROR-security $codename-security main" >>/etc/apt/sources.list
        fi
    fi
    # An image layer is thrown away as a whole when its build fails: syncing each file buys nothing.
    echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe-io
    printf '%s\n' 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
        'path-exclude=/usr/share/locale/*' >/etc/dpkg/dpkg.cfg.d/no-docs
}

# Runs apt-get with one source line and lists of its own, so that foreign suites never leak into the
# image's package lists. An expired list is fine (some mirrors are snapshots): what counts for sources
# is the archive's signature, or a checksum of ours.
apt_with() { # line, apt-get arguments…
    local line=$1 dir=${APT_WITH:-/tmp/apt-with}
    shift
    mkdir -p "$dir/lists/partial"
    echo "$line" >"$dir/sources.list"
    apt-get -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$dir/lists" -o Acquire::Languages=none \
        -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root "$@"
}

apt_reaches() { # mirror, suite
    apt_with "deb $1 $2 main" update -qq -o APT::Update::Error-Mode=any >/dev/null 2>&1
}

# Downloads and unpacks the upstream tarball of a source package; prints nothing, leaves $dir/src.
# An empty checksum means: the archive's signature is enough.
fetch_source() { # package, suite, sha256 or empty, directory
    local package=$1 suite=$2 sha256=$3 dir=$4 line tarball
    line="deb-src $(own_mirror) $suite main"
    mkdir -p "$dir/src"
    apt_with "$line" update -qq
    (cd "$dir" && apt_with "$line" source --download-only -qq "$package" >/dev/null)
    tarball=$(find "$dir" -maxdepth 1 -name '*.orig.tar.*' ! -name '*.asc')
    if [[ -n "$sha256" ]]; then
        echo "$sha256  $tarball" | sha256sum --check --quiet || {
            echo "$package in $suite is not the pinned one: $(basename "$tarball")" >&2
            return 1
        }
    fi
    tar -xf "$tarball" -C "$dir/src" --strip-components=1
}

install_packages() {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}
