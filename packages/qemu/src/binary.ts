import { execFile } from "node:child_process";
import { statSync } from "node:fs";
import { promisify } from "node:util";
import { QemuError } from "./error.js";
import { findExecutable } from "./executable.js";

const NAME = "qemu-system-x86_64";
/** The first with `-M microvm,memory-backend=` and vhost-user file systems and vsock on virtio-mmio. */
const OLDEST_MAJOR = 6;

/** The QEMU that is installed. */
export interface QemuBinary {
  readonly path: string;
  /** Such as `7.2.22`. */
  readonly version: string;
}

/** Asking takes about 30 ms, so the answer is kept while the file is the same. */
const known = new Map<string, Promise<string>>();

async function readVersion(path: string): Promise<string> {
  let output: string;
  try {
    output = (await promisify(execFile)(path, ["--version"], { timeout: 10_000 })).stdout;
  } catch (cause) {
    throw new QemuError("ERR_QEMU_START", `${path} --version failed; is it installed completely?`, {
      cause,
    });
  }
  const version = /version (\d+\.\d+(?:\.\d+)*)/.exec(output)?.[1];
  if (version === undefined) {
    throw new QemuError("ERR_QEMU_START", `${path} --version does not say a version: ${output}`);
  }
  return version;
}

/**
 * Finds `qemu-system-x86_64` in `PATH`, or checks the one at `path`.
 *
 * @throws {@link QemuError} `ERR_QEMU_MISSING`, `ERR_QEMU_TOO_OLD` or `ERR_QEMU_START`
 */
export async function findQemu(path?: string): Promise<QemuBinary> {
  const found = path ?? findExecutable(NAME);
  const status = found === undefined ? undefined : statSync(found, { throwIfNoEntry: false });
  if (found === undefined || status === undefined) {
    throw new QemuError(
      "ERR_QEMU_MISSING",
      `${path ?? NAME} was not found; install QEMU ` +
        "(Debian, Ubuntu: apt install qemu-system-x86; Fedora: dnf install qemu-system-x86-core)",
    );
  }
  const key = `${found} ${status.ino} ${status.mtimeMs}`;
  let version = known.get(key);
  if (version === undefined) {
    version = readVersion(found);
    known.set(key, version);
    version.catch(() => known.delete(key));
  }
  const installed = await version;
  if (Number.parseInt(installed, 10) < OLDEST_MAJOR) {
    throw new QemuError(
      "ERR_QEMU_TOO_OLD",
      `${found} is version ${installed}; version ${OLDEST_MAJOR}.0 or later is needed`,
    );
  }
  return { path: found, version: installed };
}
