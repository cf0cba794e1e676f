#!/bin/sh
# Builds the guest agent, a static program of a few ten kilobytes, and prints its path. The result is kept
# in the cache under a hash of the sources: a second run returns at once. With --find it only looks.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")/.." && pwd)
say() { printf '%s\n' "build-agent: $*" >&2; }
die() { say "$*"; exit 1; }

cd "$here/agent"
key=$(cat ./*.c ./*.h "$here/scripts/build-agent.sh" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/supermachine/agent
result=$cache/$key
if [ ! -f "$result/init" ]; then
  [ "${1:-}" != --find ] || exit 1
  cc=${CC:-musl-gcc}
  command -v "$cc" >/dev/null || die "needs $cc: run 'apt-get install musl-tools linux-libc-dev'"
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # musl-gcc searches musl's headers only; the kernel's are taken last so that they shadow none of them.
  "$cc" -std=c11 -D_GNU_SOURCE -Os -static -fno-pie -no-pie -s -Wl,--build-id=none \
    -Wall -Wextra -Wconversion -Wshadow -Wvla -Werror -fstack-protector-strong -ffile-prefix-map="$here/agent=." \
    -idirafter /usr/include -idirafter "/usr/include/$(uname -m)-linux-gnu" \
    -o "$work/init" ./*.c
  # Two builds at once make the same bytes: whoever comes second keeps the first one's.
  mv -T "$work" "$result" 2>/dev/null || [ -f "$result/init" ] || die "cannot move the result to $result"
  chmod 755 "$result"
fi
printf '%s\n' "$result/init"
