// Mounts argv[2] on argv[3], served by two threads, and tells of changes, until its input ends. Plain
// JavaScript over the built packages: threads of Node.js 20 run no TypeScript.
import { mountModule } from "../../fuse-mount/dist/index.js";
import { SharedPosixShare } from "../dist/index.js";

const [, , host, path] = process.argv;
const hour = 3_600_000;
const share = new SharedPosixShare(host, {
  threads: 2,
  watch: true,
  entryTimeoutMs: hour,
  attrTimeoutMs: hour,
  negativeTimeoutMs: hour,
});
const mounted = await mountModule(share, path, { threads: 2 });
process.stdout.write("mounted\n");
process.stdin.resume().on("end", async () => {
  await mounted.unmount();
  share.close();
  // Nothing is left that would keep the process.
});
