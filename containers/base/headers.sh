#!/bin/bash
# Stage "builder": compilers, and the server's headers where it came without them.
set -euo pipefail
. /caliber/apt.sh
list=(gcc libc6-dev make pkg-config libclang-dev clang libssl-dev bzip2 xz-utils)
[[ -f $(pg_config --includedir-server)/postgres.h ]] || list+=("postgresql-server-dev-$MAJOR")
# Headers of a server with ICU include ICU's; the package has them, or knows.
[[ $SOURCE != assert ]] || list+=(libicu-dev)
install_packages "${list[@]}"
