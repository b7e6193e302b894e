#!/bin/sh
# Makes dist/: source distribution and wheel of the last commit. Called by `make dist`, which brings the tools.
#
#   dist.sh TOOLS OUT    TOOLS: the environment that release/tools.txt was installed into
#
# The same commit, compiler and Python give the same bytes: sources come from git, every time is the commit's, tools are locked.
set -eu
umask 022
export LC_ALL=C TZ=UTC

die() { printf 'dist: %s\n' "$*" >&2; exit 1; }

tools=$1 out=$2
git rev-parse --verify --quiet HEAD >/dev/null 2>&1 || die 'needs a clone of the repository with a commit in it'
command -v cc >/dev/null || die 'no C compiler: the wheel would lack its machine code (apt-get install gcc libc6-dev)'
[ -z "$(git status --porcelain)" ] || echo 'dist: what is not committed is not in it' >&2
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
PATH=$(cd "$tools/bin" && pwd):$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

build() { # what, from
  uv build --quiet --no-config --python "$tools/bin/python" --build-constraints release/tools.txt --require-hashes "$1" --out-dir "$work/out" "$2"
}

# setuptools writes a source distribution with the times and owners of here; packed once more it has the commit's.
pack() { # file
  tar -xzf "$1" -C "$work"
  name=$(basename "$1" .tar.gz)
  tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r-w --mtime="@$SOURCE_DATE_EPOCH" \
    -cf - -C "$work" "$name" | gzip -n9 >"$1"
  rm -rf "${work:?}/$name"
}

mkdir -p "$work/tree" "$work/wheels"
git archive HEAD | tar -xf - -C "$work/tree"
build --sdist "$work/tree"
pack "$work"/out/*.tar.gz
build --wheel "$work"/out/*.tar.gz # from the packed sources: they are complete
auditwheel repair --wheel-dir "$work/wheels" "$work"/out/*.whl >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
"$tools/bin/python" -m zipfile -l "$work"/wheels/*.whl | grep 'edged/cpu/_native.abi3.so' >/dev/null ||
  die 'the machine code was not compiled'
rm -rf "$out"
mkdir -p "$out"
mv "$work"/out/*.tar.gz "$work"/wheels/*.whl "$out"
