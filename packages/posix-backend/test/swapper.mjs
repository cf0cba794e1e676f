// Swaps what names in argv[2] stand for, as fast as it can, between a harmless and a hostile form, until
// it is killed. argv[3] is the directory outside. Plain JavaScript, since it runs without a build.
import { execFileSync } from "node:child_process";
import { renameSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";

const [, , root, outside] = process.argv;
const at = (name) => join(root, name);

// Prepared once and moved in and out by rename, which is atomic.
symlinkSync(outside, at("dir.absolute"));
symlinkSync("../outside", at("dir.relative"));
symlinkSync(join(outside, "file"), at("file.absolute"));
symlinkSync("../outside/file", at("file.relative"));
execFileSync("mkfifo", [at("file.fifo")]);

process.stdout.write("swapping\n");
for (;;) {
  for (const form of ["absolute", "relative"]) {
    renameSync(at("dir"), at("dir.real"));
    renameSync(at(`dir.${form}`), at("dir"));
    renameSync(at("dir"), at(`dir.${form}`));
    renameSync(at("dir.real"), at("dir"));
  }
  for (const form of ["absolute", "relative", "fifo"]) {
    renameSync(at("file"), at("file.real"));
    renameSync(at(`file.${form}`), at("file"));
    renameSync(at("file"), at(`file.${form}`));
    renameSync(at("file.real"), at("file"));
  }
  try {
    unlinkSync(at("dir/made"));
  } catch {
    // not made yet
  }
}
