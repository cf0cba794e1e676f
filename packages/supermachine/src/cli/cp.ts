import { posix } from "node:path";
import { SupermachineError } from "../errors.js";
import { copiedName, keepEnd } from "../files/copy-plan.js";
import { pour } from "../files/pour.js";
import { Vm } from "../vm.js";

/** The flags of `supermachine cp`, as parsed. */
export interface CopyFlags {
  readonly archive: boolean;
  readonly followLink: boolean;
}

/** A side of a copy: a path in a machine, or one of the host. */
export interface CopyPath {
  readonly vm?: string;
  readonly path: string;
}

/** Stands for a tar archive on standard input or output. */
const ARCHIVE = "-";

/**
 * `MACHINE:PATH`, the path starting at the guest's root; anything that begins with `/` or `.` is of the
 * host.
 */
export function parseCopyPath(text: string): CopyPath {
  const match = /^([^/.:][^/:]*):(.*)$/s.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return { path: text };
  const [, vm, path] = match;
  return { vm, path: keepEnd(posix.resolve("/", path), path) };
}

/** Takes guest's names out of the terminal's language. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, "?");
}

function onSkipped(path: string, type: string): void {
  process.stderr.write(`supermachine: ${printable(path)}: a ${type} is not copied to the host\n`);
}

async function writeArchive(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) {
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
}

/** `supermachine cp`. Machine errors are thrown; what was copied before one stays. */
export async function copy(source: string, destination: string, flags: CopyFlags): Promise<void> {
  const from = parseCopyPath(source);
  const to = parseCopyPath(destination);
  const name = from.vm ?? to.vm;
  if (name === undefined || (from.vm !== undefined && to.vm !== undefined)) {
    throw new SupermachineError(
      "ERR_OPTION",
      "cp copies between a machine and the host: write one side as MACHINE:PATH",
    );
  }
  const { archive, followLink: followSymlink } = flags;
  const vm = await Vm.connect(name);
  try {
    if (to.vm !== undefined) {
      if (from.path === ARCHIVE) {
        await pour(process.stdin, vm.files.unpack(to.path, { keepOwners: archive }));
      } else {
        await vm.files.upload(from.path, to.path, { archive, followSymlink });
      }
    } else if (to.path === ARCHIVE) {
      await writeArchive(vm.files.pack(from.path, copiedName(from.path), { followSymlink }));
    } else {
      await vm.files.download(from.path, to.path, { archive, followSymlink, onSkipped });
    }
  } finally {
    vm.close();
  }
}
