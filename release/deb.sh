#!/bin/sh
# Makes OUT/edged_VERSION_ARCH.deb: the wheel in OUT with what systemd/lock pins, in an environment below /opt/edged.
#
#   deb.sh TOOLS OUT    called by `make deb` behind `make dist`
#
# The package is for the Python of this Debian and for machines of this kind. MAINTAINER='NAME <ADDRESS>': who the package names,
# by default the author of the last commit.
set -eu
umask 022
export LC_ALL=C TZ=UTC

EXTRAS='cpu view provision systemd'
tools=$(cd "$1" && pwd) out=$(cd "$2" && pwd)

die() { printf 'deb: %s\n' "$*" >&2; exit 1; }
uv() { "$tools/bin/uv" "$@" --quiet --no-config; }

command -v dh >/dev/null && command -v dpkg-buildpackage >/dev/null || die 'apt-get install debhelper dpkg-dev'
[ -x /usr/bin/python3 ] || die 'needs the Python of Debian: apt-get install python3'
minor=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python=/usr/bin/python$minor
wheel=$(ls "$out"/edged-*.whl)
version=$(basename "$wheel" | cut -d- -f2)
debian_version=$(echo "$version" | sed -E 's/(a|b|rc|\.dev)/~\1/') # a candidate is before its release
MAINTAINER=${MAINTAINER:-$(git log -1 --format='%aN <%aE>')}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

environment() { # where
  locks=
  for extra in $EXTRAS; do locks="$locks -r systemd/lock/$extra.txt"; done
  "$python" -m venv --without-pip "$1/opt/edged"
  # shellcheck disable=SC2086 - a list
  uv pip install --python "$1/opt/edged/bin/python" --no-deps --require-hashes --link-mode copy $locks
  uv pip install --python "$1/opt/edged/bin/python" --no-deps --no-index --find-links "$out" --link-mode copy "edged==$version"
}

# Nothing may name the place where it was made, and only our commands stay.
settle() { # where
  find "$1/opt/edged/bin" -mindepth 1 ! -name edged ! -name edged-provision ! -name 'python*' -delete
  ln -sfn "$python" "$1/opt/edged/bin/python$minor"
  ln -sfn "python$minor" "$1/opt/edged/bin/python"
  ln -sfn "python$minor" "$1/opt/edged/bin/python3"
  sed -i "s#$1/opt#/opt#g" "$1"/opt/edged/bin/edged* "$1/opt/edged/pyvenv.cfg"
  rm -f "$1/opt/edged/.lock" # uv's
  find "$1/opt/edged/lib" -type f -perm /111 ! -name '*.so*' -exec chmod a-x {} +
  find "$1/opt/edged/lib" -path '*/systemd/*.so' -exec strip --strip-debug {} + # compiled here
  "$python" -m compileall -q -s "$1" -p / --invalidation-mode unchecked-hash "$1/opt/edged/lib"
  if grep -rlF "$1" "$1/opt/edged" >&2; then die 'these files name the place of the build'; fi
}

debian() { # tree
  cp -r release/debian "$1/debian"
  sed -i "s/@MAINTAINER@/$MAINTAINER/; s/@PYTHON@/python$minor/" "$1/debian/control"
  printf 'edged (%s) unstable; urgency=medium\n\n  * CHANGELOG.md says what changed.\n\n -- %s  %s\n' "$debian_version" \
    "$MAINTAINER" "$(date -R -d "@$SOURCE_DATE_EPOCH")" >"$1/debian/changelog"
  cp systemd/edged.service systemd/edged.sysusers systemd/edged.tmpfiles "$1/debian"
  for unit in view provision; do cp "systemd/edged-$unit.service" "$1/debian/edged.edged-$unit.service"; done
}

tree=$work/edged
mkdir "$tree"
environment "$tree/stage"
settle "$tree/stage"
mkdir "$work/bill"
cp "$wheel" "$work/bill"
EXTRAS=$EXTRAS PYTHON=$python sh release/bill.sh "$tools" "$work/bill"
cp "$work"/bill/*.cdx.json "$tree/stage/edged.cdx.json"
cp "$work"/bill/*-licences.txt "$tree/stage/licences.txt"
cp -r etc docs CHANGELOG.md "$tree"
debian "$tree"
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
rm -f "$out"/*.deb
mv "$work"/*.deb "$out"
