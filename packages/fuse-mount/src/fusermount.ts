import { execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  ResourceStack,
  setNonBlocking,
  UnixListener,
  UnixSocket,
} from "@supermachine-internal/libc";
import { FuseMountError } from "./error.js";

const HELPER = "fusermount3";

/** Two connected sockets: one for the helper, one for us. */
function socketPair(resources: ResourceStack): readonly [UnixSocket, UnixSocket] {
  const directory = mkdtempSync(join(tmpdir(), "fusermount-"));
  resources.defer(() => rmSync(directory, { recursive: true, force: true }));
  const listener = resources.use(UnixListener.listen(join(directory, "socket")));
  const theirs = resources.use(UnixSocket.connect(listener.path));
  const ours = listener.accept();
  if (ours === undefined) {
    throw new FuseMountError("ERR_FUSE_MOUNT_FAILED", `cannot connect to ${HELPER}`);
  }
  return [theirs, resources.use(ours)];
}

/**
 * Has the set-user-id helper fusermount3(1) mount, for users who may not call mount(2). It opens the
 * device and passes it back over the socket that `_FUSE_COMMFD` names. Returns the device.
 */
export async function mountWithHelper(target: string, options: string): Promise<number> {
  const resources = new ResourceStack();
  try {
    const [theirs, ours] = socketPair(resources);
    await runHelper(["-o", options, "--", target], theirs.fd);
    const fds: number[] = [];
    ours.receive(new Uint8Array(1), fds);
    const [fd] = fds;
    if (fd === undefined) {
      throw new FuseMountError("ERR_FUSE_MOUNT_FAILED", `${HELPER} passed no device back`);
    }
    setNonBlocking(fd);
    return fd;
  } finally {
    resources.dispose();
  }
}

function runHelper(helperArguments: string[], socket: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(HELPER, helperArguments, {
      stdio: ["ignore", "ignore", "pipe", socket],
      env: { ...process.env, _FUSE_COMMFD: "3" },
    });
    let complaint = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(0, 1000);
    });
    child.once("error", (cause) =>
      reject(
        new FuseMountError(
          "ERR_FUSE_MOUNT_HELPER",
          `cannot run ${HELPER}: install fuse3, or mount as root`,
          {
            cause,
          },
        ),
      ),
    );
    child.once("close", (code) => {
      if (code === 0) resolve();
      else
        reject(
          new FuseMountError(
            "ERR_FUSE_MOUNT_FAILED",
            complaint.trim() || `${HELPER}: exit ${code}`,
          ),
        );
    });
  });
}

/** Unmounts what {@link mountWithHelper} has mounted. Rejects with what the helper says. */
export async function unmountWithHelper(target: string, lazy: boolean): Promise<void> {
  await promisify(execFile)(HELPER, ["-u", ...(lazy ? ["-z"] : []), "--", target]);
}

/** For the end of the process: only safe once the device is closed. */
export function detachWithHelperNow(target: string): void {
  spawnSync(HELPER, ["-u", "-z", "--", target], { stdio: "ignore" });
}
