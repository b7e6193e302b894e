#!/bin/sh
# What an installation consists of: an SBOM (CycloneDX) and the licences. Called by `make dist` after the wheel is built.
#
#   bill.sh TOOLS OUT    reads the wheel in OUT, writes edged-VERSION.cdx.json and edged-VERSION-licences.txt beside it
#
# It installs what systemd/lock pins for EXTRAS into an environment that is thrown away, and asks that. So it is true for this
# PYTHON and this kind of machine. No time and no random number is in it: the same locks give the same bytes.
set -eu
umask 022
export LC_ALL=C TZ=UTC

EXTRAS=${EXTRAS:-cpu view provision gpu systemd}
tools=$1 out=$2
PYTHON=${PYTHON:-$tools/bin/python}
wheel=$(ls "$out"/edged-*.whl)
version=$(basename "$wheel" | cut -d- -f2)
pkg-config --exists libsystemd || {
  echo 'dist: systemd-python is compiled: apt-get install libsystemd-dev pkg-config gcc python3-dev' >&2
  exit 1
}
unset SOURCE_DATE_EPOCH # the SBOM would carry it, and with it change although nothing else did
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

licences() { # options; it advises other formats on stderr
  "$tools/bin/pip-licenses" --python "$work/env/bin/python" "$@" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
}
uv() { "$tools/bin/uv" "$@" --quiet --no-config; }

locks=
for extra in $EXTRAS; do locks="$locks -r systemd/lock/$extra.txt"; done
uv venv --python "$PYTHON" "$work/env"
# shellcheck disable=SC2086 - a list
uv pip install --python "$work/env/bin/python" --no-deps --require-hashes $locks
uv pip install --python "$work/env/bin/python" --no-deps "$wheel"

"$tools/bin/cyclonedx-py" environment --output-reproducible --pyproject pyproject.toml --output-format JSON \
  --output-file "$out/edged-$version.cdx.json" "$work/env/bin/python"

{
  echo "What edged $version installs with the extras $EXTRAS, for $("$PYTHON" -c '
import platform
print("Python", ".".join(platform.python_version_tuple()[:2]), "on", platform.machine())'), and its licences as the packages state them."
  echo
  licences
  printf '\nLibraries that came inside of these packages; the table does not show their licences: x264 and x265 are GPL-2.0-or-later.\n\n'
  (cd "$work"/env/lib/python3*/site-packages && find . -path './*.libs/*' -type f | sort | sed 's#^\./#  #')
  printf '\nThe texts.\n\n'
  licences --with-license-file --no-license-path --format plain-vertical
} >"$out/edged-$version-licences.txt"
