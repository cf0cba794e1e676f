// @ts-check
// The peer: QEMU's microvm by itself, with our kernel and the demo image's disk.
import { buildPeerInitramfs } from "./initramfs.mjs";

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t erofs -o ro /dev/vda /root
/bin/busybox chroot /root /bin/sh -c 'echo ready; sleep 2'
/bin/busybox reboot -f
`;

/**
 * @param {{ accelerator: string, memoryMiB: number }} options
 * @returns {Promise<import("./measure-run.mjs").Command>}
 */
export async function peerCommand({ accelerator, memoryMiB }) {
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
      ...["-kernel", kernel, "-initrd", await buildPeerInitramfs("peer-initramfs.cpio", INIT)],
      ...["-append", "console=ttyS0 quiet panic=-1 reboot=t"],
    ],
  };
}
