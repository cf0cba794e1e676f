#!/bin/sh
# Builds the guest kernel from the distribution's linux-source package and kernel/config, and prints the
# path of the bzImage. The result is kept in the cache under a hash of everything that goes into it:
# a second run returns at once. With --find it only looks. See README.md, "The kernel".
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")/.." && pwd)
fragment=$here/kernel/config
say() { printf '%s\n' "build-kernel: $*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -sm)" = "Linux x86_64" ] || die "builds on x86-64 Linux only, this is $(uname -sm)"

archive=${SUPERMACHINE_KERNEL_SOURCE:-/usr/src/linux-source-6.1.tar.xz}
[ -f "$archive" ] || die "no kernel source at $archive: run 'apt-get install linux-source-6.1', or set SUPERMACHINE_KERNEL_SOURCE to a 6.1 source archive"
# The package version stands for the archive: hashing 130 MB would cost every cached run half a second.
if [ -z "${SUPERMACHINE_KERNEL_SOURCE:-}" ] && source_id=$(dpkg-query -W -f '${Package} ${Version}' linux-source-6.1 2>/dev/null); then :; else
  source_id="source archive $(sha256sum <"$archive" | cut -c1-16)"
fi
key=$({ printf '%s\n' "$source_id"; cat "$fragment"; } | sha256sum | cut -c1-16)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/supermachine/kernel
result=$cache/$key
# Prints the result, and links it from the configuration's hash alone: src/assets.ts finds it there
# without running this script.
found() {
  link=$cache/config-$(sha256sum <"$fragment" | cut -c1-16)
  [ "$(readlink "$link")" = "$key" ] || ln -sfn "$key" "$link"
  printf '%s\n' "$result/bzImage"
  exit 0
}
[ ! -f "$result/bzImage" ] || found
[ "${1:-}" != --find ] || exit 1
for tool in make gcc flex bison bc lz4 tar xz flock; do
  command -v "$tool" >/dev/null || die "needs $tool: run 'apt-get install build-essential flex bison bc lz4 xz-utils libelf-dev'"
done
mkdir -p "$cache"

# One build at a time: whoever waited here finds the result made by the other.
exec 9>"$cache/lock"
flock -n 9 || { say "another build is running, waiting for it"; flock 9; }
[ ! -f "$result/bzImage" ] || found

work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

jobs=$(nproc)
say "building from $source_id with $jobs jobs; takes about 4 CPU minutes and 1.6 GB in $cache"
mkdir "$work/src" "$work/out"
tar -xJf "$archive" -C "$work/src" --strip-components=1
cd "$work/src"

# Without CONFIG_PCI, Linux 6.1 compiles out what accesses PCI configuration space for ACPI, but insists on having it,
# and takes no ACPI table at all then. So it is taken from the list; its place becomes system memory, which may be there
# twice. Not part of the cache's key: whoever changes this says so in kernel/config, which is.
sed -i '/^u8 acpi_gbl_default_address_spaces/,/^}/{/ACPI_ADR_SPACE_PCI_CONFIG/d}' drivers/acpi/acpica/evhandler.c

# Nothing of this machine or moment may get into the image.
export KBUILD_BUILD_TIMESTAMP='2024-01-01 00:00:00 UTC' KBUILD_BUILD_USER=supermachine KBUILD_BUILD_HOST=supermachine
export KBUILD_BUILD_VERSION=1 KCFLAGS="-ffile-prefix-map=$work/src=."

make -s tinyconfig >"$work/log" 2>&1
scripts/kconfig/merge_config.sh -m -O . .config "$fragment" >>"$work/log" 2>&1
make -s olddefconfig >>"$work/log" 2>&1

# Kconfig drops options whose dependencies are not met without a word.
lost=$(sed -n 's/^\(CONFIG_[A-Z0-9_]*\)=.*/&/p' "$fragment" | while IFS= read -r line; do
  case $line in
    *=n) ! grep -q "^${line%=n}=" .config || printf '%s ' "$line" ;;
    *) grep -qxF "$line" .config || printf '%s ' "$line" ;;
  esac
done)
[ -z "$lost" ] || die "these lines of $fragment did not survive 'make olddefconfig', their dependencies are missing: $lost"

make -j"$jobs" bzImage >>"$work/log" 2>&1 &
make_pid=$!
trap 'kill "$make_pid" 2>/dev/null; exit 130' INT TERM HUP
started=$(date +%s)
while kill -0 "$make_pid" 2>/dev/null; do
  sleep 5
  say "$(($(date +%s) - started)) s, $(grep -cE '^  (CC|AS|LD|AR)' "$work/log" || true) files"
done
wait "$make_pid" || { tail -n 30 "$work/log" >&2; die "make failed, its last lines are above"; }

cp arch/x86/boot/bzImage .config "$work/out/"
mv "$work/out/.config" "$work/out/config"
mv "$work/out" "$result"
say "done in $(($(date +%s) - started)) s"
found
