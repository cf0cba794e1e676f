import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

/** Runs a program and returns its output; throws with its words when it fails. */
export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
}

/** Runs a shell script in a directory. */
export function shell(directory: string, script: string): string {
  return execFileSync("sh", ["-ec", script], {
    cwd: directory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
}

/** Everything about every path below a directory, as lines that can be compared. */
export function listTree(root: string): string[] {
  const lines = shell(
    root,
    `find . -type d -printf '%p %y %m %U %G %T@\\n' -o -type f -printf '%p %y %m %U %G %T@ %n %s ' -exec sha256sum '{}' ';' \
       -o -type l -printf '%p %y %U %G %T@ %l\\n' -o -printf '%p %y %m %U %G %T@ ' -exec stat -c '%t:%T' '{}' ';'
     find . -type f -links +1 -printf '%i %p\\n' | sort | awk '$1 != i { i = $1; first = $2 } { print "same", first, $2 }'
     getfattr -R -h -d -m - -e hex . 2>/dev/null || true`,
  ).split("\n");
  // find and getfattr list in the order of the directory.
  return lines
    .join("\n")
    .split(/\n(?=#)/)
    .sort()
    .join("\n")
    .split("\n")
    .sort();
}

/** Mounts an EROFS image, and unmounts it again in any case. */
export function withMount<T>(image: string, at: string, use: (root: string) => T): T {
  mkdirSync(at, { recursive: true });
  run("mount", "-t", "erofs", "-o", "loop,ro", image, at);
  try {
    return use(at);
  } finally {
    run("umount", at);
  }
}

/** Makes an OCI layout of two layers with the files that go wrong first. */
export function makeLayout(directory: string): string {
  shell(
    directory,
    `umoci init --layout layout && umoci new --image layout:latest && umoci unpack --image layout:latest bundle
     cd bundle/rootfs
     mkdir -p bin usr/lib etc var/empty tmp "names/with space" opaque/sub gone replaced
     cp "$(command -v busybox)" bin/busybox; ln bin/busybox bin/sh; ln -s busybox bin/ls
     ln -s usr/lib lib; echo library > usr/lib/one
     chmod 1777 tmp; echo secret > etc/shadow; chmod 600 etc/shadow; chown 123:456 etc/shadow
     chmod 4755 bin/busybox; mkfifo pipe; mknod null c 1 3; mknod disk b 259 70000
     echo old > opaque/file; echo old > opaque/sub/file; echo gone > gone/file; echo dir > replaced/file
     echo large-id > large; chown 3000000:4000000 large
     setfattr -n user.note -v value large; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 bin/busybox
     setfattr -n trusted.note -v 0x00ff00 large
     : > empty; head -c 4096 /dev/urandom > block; head -c 100001 /dev/urandom > odd
     touch -d '1960-01-02 03:04:05' ancient; touch -d '2040-01-01 00:00:00.123456789' future
     i=0; while [ $i -lt 400 ]; do echo $i > "names/file-number-$i"; i=$((i+1)); done
     long=$(printf 'x%.0s' $(seq 1 200)); mkdir -p "$long/$long"; echo deep > "$long/$long/$long"; ln -s "$long/$long/$long" longlink
     printf latin > "$(printf 'names/latin-\\374')"; echo utf8 > names/ünïcode
     cd ../..; umoci repack --image layout:latest bundle; rm -rf bundle
     umoci unpack --image layout:latest bundle; cd bundle/rootfs
     rm -rf gone replaced opaque; echo now-a-file > replaced; mkdir opaque; echo new > opaque/new
     rm names/file-number-7; chmod 640 names/file-number-8; ln etc/shadow etc/shadow-link; rm lib; mkdir lib; echo own > lib/two
     cd ../..; umoci repack --image layout:latest bundle; rm -rf bundle
     umoci config --image layout:latest --config.cmd /bin/sh --config.env A=1 --config.env B=x=y \
       --config.workingdir /tmp --config.user 123:456 --config.exposedports 80/tcp --config.label k=v --config.stopsignal SIGINT`,
  );
  return join(directory, "layout");
}
