// @ts-check
// The peer: QEMU's microvm by itself, with our kernel and the demo image's disk.
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachePath, exists } from "../../scripts/cache.mjs";
import { findProgram, run } from "../../scripts/command.mjs";

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t erofs -o ro /dev/vda /root
/bin/busybox chroot /root /bin/sh -c 'echo ready; sleep 2'
/bin/busybox reboot -f
`;

/** @returns {Promise<string>} path of an initramfs that mounts the disk, prints and resets */
export async function buildPeerInitramfs() {
  const file = cachePath("bench", "peer-initramfs.cpio");
  if (await exists(file)) return file;
  const busybox = await findProgram("busybox");
  if (busybox === undefined) throw new Error("busybox is missing: install busybox-static");
  await mkdir(cachePath("bench"), { recursive: true });
  const tree = await mkdtemp(join(tmpdir(), "supermachine-bench-"));
  try {
    for (const name of ["bin", "dev", "root"]) await mkdir(join(tree, name));
    await copyFile(busybox, join(tree, "bin", "busybox"));
    await writeFile(join(tree, "init"), INIT, { mode: 0o755 });
    await run("sh", ["-c", 'find . | cpio --quiet -o -H newc >"$0"', file], { cwd: tree });
  } finally {
    await rm(tree, { recursive: true });
  }
  return file;
}

/**
 * @param {{ accelerator: string, initramfs: string, memoryMiB: number }} options
 * @returns {Promise<import("./measure-run.mjs").Command>}
 */
export async function peerCommand({ accelerator, initramfs, memoryMiB }) {
  const { findKernel } = await import("@supermachine/guest");
  const { ImageStore } = await import("@supermachine/oci");
  const kernel = await findKernel();
  if (kernel === undefined) throw new Error("the guest kernel is not built: run `npm run setup`");
  const { rootfsPath } = await new ImageStore().get("demo");
  const machine = "microvm,acpi=off";
  return {
    command: "qemu-system-x86_64",
    args: [
      ...[
        "-M",
        machine,
        "-accel",
        accelerator,
        "-cpu",
        accelerator === "kvm" ? "host" : "max",
        "-m",
        String(memoryMiB),
      ],
      ...["-nodefaults", "-no-user-config", "-no-reboot", "-nographic", "-serial", "stdio"],
      ...["-global", "virtio-mmio.force-legacy=false"],
      ...["-drive", `if=none,id=root,format=raw,readonly=on,file=${rootfsPath}`],
      ...["-device", "virtio-blk-device,drive=root"],
      ...["-kernel", kernel, "-initrd", initramfs],
      ...["-append", "console=ttyS0 quiet panic=-1 reboot=t"],
    ],
  };
}
