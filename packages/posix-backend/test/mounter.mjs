// Mounts and unmounts file systems over a directory of the share at argv[2], as fast as it can, until it is killed. In
// turns it is a new one, a directory of the share itself, and the share as a whole.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const [, , root] = process.argv;
const target = join(root, "dir");
const sources = [
  ["-t", "tmpfs", "-o", "size=1m", "none", target],
  ["--bind", join(root, "other"), target],
  ["--bind", root, target],
];
process.stdout.write("mounting\n");
for (let i = 0; ; i++) {
  spawnSync("mount", sources[i % sources.length]);
  if (i % sources.length === 0) writeFileSync(join(target, "file"), "inside");
  spawnSync("umount", ["--lazy", target]);
}
