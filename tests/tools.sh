#!/bin/sh
# Install, as root on Debian or Ubuntu, the programs that the tests run; elsewhere say which are missing.
# Usage: tools.sh [all|systemd]; all: also what only a few tests need; systemd: what `make test-systemd` needs, or fail.
set -eu
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

missing=
need() { # command, package, what for
  command -v "$1" >/dev/null || missing="$missing$2|$3
"
}
file() { # pattern of a file, package, what for
  # shellcheck disable=SC2086 - a pattern
  ls $1 >/dev/null 2>&1 || missing="$missing$2|$3
"
}

need mosquitto mosquitto 'every test of the publisher and the daemon: a real broker'
need mosquitto_sub mosquitto-clients 'clients of the broker that are not ours'
need g++ g++ 'the kernels on this processor, the stub driver, our machine code; without it they are skipped'
need openssl openssl 'TLS to the broker'
need docker-registry docker-registry 'bundles in a real OCI registry'
need xz xz-utils 'the files for a GPU machine'
if [ "${1:-}" = all ]; then
  need nft nftables 'a network that loses packets'
  need ip iproute2 'a network that loses packets'
  need stress-ng stress-ng 'a busy machine'
  need chromium chromium 'the page in a real browser'
  need prometheus prometheus 'metrics, panels and alerts in a real Prometheus'
  file '/usr/lib/*/faketime/libfaketimeMT.so.1' libfaketime 'a clock that jumps'
  file '/usr/lib/python3/dist-packages/gi' python3-gi 'a real RTSP server'
  file '/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib' gir1.2-gst-rtsp-server-1.0 'a real RTSP server'
  for plugins in base:videotestsrc good:rtp good:mulaw good:jpeg ugly:x264 bad:x265; do
    file "/usr/lib/*/gstreamer-1.0/libgst${plugins#*:}.so" "gstreamer1.0-plugins-${plugins%:*}" 'a real RTSP server'
  done
  need pkg-config pkg-config "the packages: the journal's fields are compiled"
  file '/usr/include/systemd/sd-journal.h' libsystemd-dev "the packages: the journal's fields are compiled"
fi
if [ "${1:-}" = systemd ]; then
  need systemd-nspawn systemd-container 'a machine that boots'
  need debootstrap debootstrap 'its system'
  need pkg-config pkg-config "the journal's fields"
  file '/usr/include/systemd/sd-journal.h' libsystemd-dev "the journal's fields"
fi
[ -n "$missing" ] || exit 0

packages=$(printf %s "$missing" | cut -d'|' -f1 | sort -u | tr '\n' ' ')
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing for the tests: $packages..."
  apt-get update -qq
  # shellcheck disable=SC2086 - a list
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
  exit 0
fi
echo "missing for the tests (apt-get install $packages):"
printf %s "$missing" | sed 's/|/: /; s/^/  /'
if [ "${1:-}" != systemd ] && command -v mosquitto >/dev/null && command -v mosquitto_sub >/dev/null; then exit 0; fi
echo 'without these there is little to test; stopping'
exit 1
