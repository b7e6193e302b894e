#!/bin/sh
# Puts edged on this machine or takes it away; called by `make install`, `make uninstall`, `make wheels`.
#
#   install    a fresh environment beside the old one, then one atomic switch: an upgrade that fails changes nothing
#   uninstall  keeps configuration, models and the user that owns them
#   wheels     everything that `install` needs, for machines without network
#
# DESTDIR   stage for a package: nothing on this machine is touched
# PREFIX    /opt/edged           LIBDIR  /usr/local/lib, below it systemd/system, sysusers.d, tmpfiles.d
# BINDIR    /usr/local/bin: links to the commands
# WHEELS    install from this directory only, without network
# LOCK      `no`: the newest that pyproject.toml allows, instead of the versions and hashes of lock/; always so on a Jetson,
#           whose OpenCV and numpy are the system's
# EXTRAS    e.g. cpu,train   PYTHON  python3: of the system, not below a home directory
set -eu

DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/opt/edged} LIBDIR=${LIBDIR:-/usr/local/lib} BINDIR=${BINDIR:-/usr/local/bin}
PYTHON=${PYTHON:-python3}
LOCK=${LOCK:-} WHEELS=${WHEELS:-} EXTRAS=${EXTRAS:-} COMMANDS='edged edged-provision'
CONFIG=/etc/edged STATE=/var/lib/edged UNITS='edged.service edged-provision.service edged-view.service'
here=$(dirname "$0")
root=$(dirname "$here")

say() { printf '%s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }
here_and_now() { [ -z "$DESTDIR" ]; }
has_systemd() { here_and_now && [ -d /run/systemd/system ]; }

extras() {
  if [ -n "$EXTRAS" ]; then echo "$EXTRAS"; return; fi
  found=cpu,view,provision
  if ls /dev/nvidiactl /dev/nvhost-ctrl-gpu /dev/nvgpu >/dev/null 2>&1; then found=$found,gpu; fi
  if [ -n "$WHEELS" ]; then
    if ls "$WHEELS"/systemd_python-* >/dev/null 2>&1; then found=$found,systemd; fi
  elif command -v cc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists libsystemd; then
    found=$found,systemd
  fi
  echo "$found"
}

# `-r FILE` for each of the extras $1 that has a lock.
locks() {
  if [ "$LOCK" = no ] || [ -e /etc/nv_tegra_release ]; then return; fi
  for extra in $(echo "$1" | tr , ' '); do
    if [ -e "$here/lock/$extra.txt" ]; then printf -- '-r %s ' "$here/lock/$extra.txt"; fi
  done
}

wheels() {
  [ -n "$WHEELS" ] || die 'say where to: make wheels WHEELS=DIRECTORY'
  mkdir -p "$WHEELS"
  rm -rf "$root/build" # what an earlier build left there would be packed again
  wanted=$(WHEELS='' extras)
  locked=$(locks "$wanted") rest=
  if [ -n "$locked" ]; then
    "$PYTHON" -m pip wheel --quiet --wheel-dir "$WHEELS" --no-deps --require-hashes $locked
    rest='--no-deps'
    for extra in $(echo "$wanted" | tr , ' '); do [ -e "$here/lock/$extra.txt" ] || rest="--find-links $WHEELS"; done
  fi
  "$PYTHON" -m pip wheel --quiet --wheel-dir "$WHEELS" $rest "$root[$wanted]"
  say "$WHEELS holds edged[$wanted] and all that it needs; there: make install WHEELS=$WHEELS"
}

no_package() {
  here_and_now || return 0
  case $(dpkg-query -W -f '${db:Status-Abbrev}' edged 2>/dev/null) in
    i*) die 'the Debian package edged is installed here: apt-get remove edged, which keeps configuration and models' ;;
  esac
}

environment() {
  "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' ||
    die "edged needs Python 3.10 to 3.13, $PYTHON is $("$PYTHON" -V 2>&1)"
  case $(readlink -f "$(command -v "$PYTHON")") in
    /home/* | /root/*) die "$PYTHON lies in a home directory, which the service cannot see: make install PYTHON=/usr/bin/python3" ;;
  esac
  site=
  [ -e /etc/nv_tegra_release ] && site=--system-site-packages # a Jetson's TensorRT and OpenCV are the system's
  new=$DESTDIR$PREFIX/env-$(date +%Y%m%d%H%M%S)
  mkdir -p "$DESTDIR$PREFIX"
  trap 'rm -rf "$new"' EXIT
  trap 'exit 1' INT TERM HUP
  "$PYTHON" -m venv $site "$new" || die 'no environment; on Debian and Ubuntu: apt-get install python3-venv'
  source="$root[$(extras)]" offline=
  if [ -n "$WHEELS" ]; then source="edged[$(extras)]" offline="--no-index --find-links $WHEELS"; fi
  say "installing $source into $new"
  if [ -z "$WHEELS" ]; then
    rm -rf "$root/build"
    locked=$(locks "$(extras)")
    if [ -n "$locked" ]; then
      "$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes $locked ||
        die 'what lock/ pins cannot be installed here; make install LOCK=no takes what pyproject.toml allows'
    fi
  fi
  "$new/bin/python" -m pip install --quiet --disable-pip-version-check $offline "$source"
  "$new/bin/edged" --version >/dev/null || die 'the new environment does not work; the old one stays'
  if ! here_and_now; then
    grep -rlIF "$DESTDIR$PREFIX" "$new/bin" "$new/pyvenv.cfg" | xargs -r sed -i "s#$DESTDIR$PREFIX#$PREFIX#g"
  fi
  chmod -R go-w "$new"
}

# Names the new environment by one rename, so that there is no moment without a working one.
switch() {
  ln -sfn "$(basename "$new")/bin" "$DESTDIR$PREFIX/bin.new"
  mv -T "$DESTDIR$PREFIX/bin.new" "$DESTDIR$PREFIX/bin"
  trap - EXIT
}

files() {
  install -d "$DESTDIR$BINDIR"
  for command in $COMMANDS; do ln -sfn "$PREFIX/bin/$command" "$DESTDIR$BINDIR/$command"; done
  for unit in $UNITS; do
    install -D -m 644 "$here/$unit" "$DESTDIR$LIBDIR/systemd/system/$unit"
    [ "$PREFIX" = /opt/edged ] || sed -i "s#/opt/edged/#$PREFIX/#g" "$DESTDIR$LIBDIR/systemd/system/$unit"
  done
  install -D -m 644 "$here/edged.sysusers" "$DESTDIR$LIBDIR/sysusers.d/edged.conf"
  install -D -m 644 "$here/edged.tmpfiles" "$DESTDIR$LIBDIR/tmpfiles.d/edged.conf"
  install -d -m 750 "$DESTDIR$CONFIG"
  install -m 644 "$root/etc/edged.toml" "$DESTDIR$CONFIG/edged.toml.example"
  install -m 644 "$root/etc/view.toml" "$DESTDIR$CONFIG/view.toml.example"
  if [ ! -e "$DESTDIR$CONFIG/edged.toml" ]; then
    install -m 640 "$root/etc/edged.toml" "$DESTDIR$CONFIG/edged.toml"
  fi
}

settle() {
  here_and_now || { say "staged below $DESTDIR"; return; }
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers "$LIBDIR/sysusers.d/edged.conf"
    systemd-tmpfiles --create "$LIBDIR/tmpfiles.d/edged.conf"
  fi
  if has_systemd; then
    systemctl daemon-reload
    systemctl try-restart edged-view.service || true
    systemctl try-restart edged.service || say 'edged did not start again; see: systemctl status edged'
  fi
  for old in "$PREFIX"/env-*; do
    [ "$old" = "$new" ] || rm -rf "$old"
  done
  say "edged $("$PREFIX/bin/edged" --version | cut -d' ' -f2) is installed"
  say "edit $CONFIG/edged.toml, then: edged check; systemctl enable --now edged"
}

uninstall() {
  if has_systemd; then
    systemctl disable --now edged-view.service edged.service 2>/dev/null || true
    systemctl stop edged-provision.service 2>/dev/null || true
  fi
  for command in $COMMANDS; do rm -f "$DESTDIR$BINDIR/$command"; done
  for unit in $UNITS; do rm -f "$DESTDIR$LIBDIR/systemd/system/$unit"; done
  rm -f "$DESTDIR$LIBDIR/sysusers.d/edged.conf" "$DESTDIR$LIBDIR/tmpfiles.d/edged.conf"
  rm -rf "$DESTDIR$PREFIX"/env-* "$DESTDIR$PREFIX/bin"
  rmdir "$DESTDIR$PREFIX" 2>/dev/null || true
  if has_systemd; then systemctl daemon-reload; fi
  say "edged is gone; kept: $DESTDIR$CONFIG, $DESTDIR$STATE, $DESTDIR$STATE-view and the users edged and edged-view"
}

case ${1:-} in
  install) no_package; environment; switch; files; settle ;;
  uninstall) uninstall ;;
  wheels) wheels ;;
  *) die 'usage: install.sh install|uninstall|wheels' ;;
esac
