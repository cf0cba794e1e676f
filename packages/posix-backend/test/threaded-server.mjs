// Mounts directory argv[2] on argv[3], served by threads, until standard input ends; through io_uring when argv[4]
// is "io_uring". It runs built packages: threads of Node.js 20 take no TypeScript.
import { mountModule } from "@supermachine/fuse-mount";
import { SharedPosixShare } from "@supermachine/posix-backend";

const [host, mountPoint, transport] = process.argv.slice(2);
// So few fds that nodes are reopened all the time.
const share = new SharedPosixShare(host, { threads: 3, maxFds: 64 });
const mounted = await mountModule(share, mountPoint, {
  ...{ threads: 3, allowOther: true, allowSetuid: true, allowDevices: true },
  ioUring: transport === "io_uring",
});
process.stdout.write("mounted\n");
process.stdin.resume().once("end", async () => {
  await mounted[Symbol.asyncDispose]();
  const { handleCount } = share;
  share.close();
  process.exitCode = handleCount === 0 ? 0 : 3;
});
