#!/bin/bash
# Builds dist/spoold_VERSION_ARCH.deb for the Debian release that this runs on. As root it installs what it needs.
#   REVISION=2             of the package (default: 1)
#   MAINTAINER='N <M>'     named in the package
#   CHECK=no               without lintian
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tree=$root/build/deb/spoold
wheels=$root/build/deb/wheels
revision=${REVISION:-1}
maintainer=${MAINTAINER:-spoold maintainers <maintainers@spoold.example>}
tools=(build-essential debhelper dh-python fakeroot lintian python3 python3-pip)

say() { printf '\e[2m%s\e[0m\n' "$*"; }
die() { printf 'error: %s\n' "$1" >&2; printf 'try: %s\n' "$2" >&2; exit 1; }

install_tools() {
    local missing=()
    for tool in "${tools[@]}"; do
        dpkg-query -W -f '${Status}' "$tool" 2>/dev/null | grep -q 'ok installed' || missing+=("$tool")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "the build needs ${missing[*]}" "apt install ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get -qq update || true
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
}

# The tree that the package is built from: what is here, and nothing that was made.
copy_tree() {
    rm -rf "$tree"
    mkdir -p "$tree"
    tar -c --exclude=__pycache__ --exclude='*.egg-info' spoold cli man proto README.md CHANGELOG.md | tar -x -C "$tree"
    cp -r packaging/debian packaging/requirements.txt packaging/completions.py packaging/spoold.toml \
        packaging/prometheus packaging/grafana "$tree"
    # What was fetched before needs no network.
    fetch --no-index 2>/dev/null || fetch
    ln -s "$wheels" "$tree/wheels"
}

# --require-hashes: a wheel that is another than the one that was tested ends the build.
fetch() {
    /usr/bin/python3 -m pip download -qq --disable-pip-version-check --only-binary :all: --no-deps --require-hashes \
        --dest "$wheels" --find-links "$wheels" "$@" -r packaging/requirements.txt
}

fill_in() {
    local upstream=$1 version=$2 python next_python date
    python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    next_python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
    date=$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
    sed -e "s/@VERSION@/$version/; s/@UPSTREAM@/$upstream/; s/@RELEASE@/$VERSION_CODENAME/; s/@NUMBER@/$VERSION_ID/" \
        -e "s/@MAINTAINER@/$maintainer/; s/@DATE@/$date/" "$tree/debian/changelog.in" >"$tree/debian/changelog"
    rm "$tree/debian/changelog.in"
    sed -i "s/@MAINTAINER@/$maintainer/; s/@PYTHON@/$python/; s/@NEXT_PYTHON@/$next_python/" "$tree/debian/control"
    # Longer and longer pauses between starts that fail: the systemd of Debian 12 does not know them yet.
    [ "$VERSION_ID" -lt 13 ] ||
        sed -i 's/^RestartSec=.*/&\nRestartSteps=4\nRestartMaxDelaySec=30s/' "$tree/debian/spoold.service"
}

main() {
    local upstream version deb
    [ -r /etc/debian_version ] || die "a Debian package is built on Debian" "a container or a machine with Debian 12"
    . /etc/os-release
    install_tools
    upstream=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' spoold/__init__.py)
    version=$upstream-$revision~deb${VERSION_ID}u1
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
    say "building spoold $version"
    copy_tree
    fill_in "$upstream" "$version"
    (cd "$tree" && dpkg-buildpackage --build=binary --no-sign --root-command=fakeroot) >build/deb/log 2>&1 ||
        { tail -n 30 build/deb/log >&2; die "the build failed" "less build/deb/log"; }
    deb=spoold_${version}_$(dpkg --print-architecture).deb
    mkdir -p dist
    mv "build/deb/$deb" dist/
    rm -f build/deb/spoold_*.buildinfo build/deb/spoold_*.changes
    [ "${CHECK:-yes}" = no ] || lintian --allow-root --fail-on error,warning "dist/$deb"
    echo "dist/$deb"
}

main
