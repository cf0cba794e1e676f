import { CHANNEL_FD } from "./bound-process.js";
import { QemuError } from "./error.js";

/** A disk that QEMU itself serves as virtio-blk: `/dev/vda`, `/dev/vdb` and so on in the guest. */
export interface QemuDisk {
  /** A raw image or block device. */
  readonly path: string;
  /** Default `false`. */
  readonly readOnly?: boolean;
}

/** A device that another process, or this one, serves over vhost-user. */
export interface VhostUserFrontEnd {
  /** The QEMU device with its properties, such as `vhost-user-vsock-device`. */
  readonly device: string;
  readonly properties: Readonly<Record<string, string | number>>;
  readonly socketPath: string;
}

/** What the machine consists of. */
export interface QemuArguments {
  readonly kernel: string;
  readonly initrd: string | undefined;
  readonly commandLine: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly accelerator: "tcg" | "kvm";
  readonly disks: readonly QemuDisk[];
  readonly frontEnds: readonly VhostUserFrontEnd[];
}

/** microvm has this many virtio-mmio transports; the entropy device takes one. */
export const MAX_DEVICES = 7;
const LAST_TRANSPORT = MAX_DEVICES;

/** In QEMU's option syntax a comma inside a value is doubled. */
function quote(value: string | number): string {
  return String(value).replaceAll(",", ",,");
}

/** The arguments of `qemu-system-x86_64` for a machine. */
export function qemuArguments(machine: QemuArguments): string[] {
  const devices = machine.disks.length + machine.frontEnds.length;
  if (devices > MAX_DEVICES) {
    throw new QemuError(
      "ERR_QEMU_OPTION",
      `${devices} disks and devices: QEMU's microvm has room for ${MAX_DEVICES}`,
    );
  }
  const args = [
    // ACPI off: the kernel takes its devices from the command line, to which QEMU appends them.
    ...["-M", "microvm,acpi=off,memory-backend=ram"],
    ...["-accel", machine.accelerator],
    ...["-cpu", machine.accelerator === "kvm" ? "host" : "max"],
    ...["-smp", String(machine.cpus)],
    ...["-m", `${machine.memoryMiB}M`],
    // vhost-user back-ends map the guest's memory, so it is a shared file.
    ...["-object", `memory-backend-memfd,id=ram,size=${machine.memoryMiB}M,share=on`],
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    // A guest that resets is done: a guest without ACPI has no other way to switch itself off.
    "-no-reboot",
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-chardev", `socket,id=monitor,fd=${CHANNEL_FD}`, "-mon", "chardev=monitor,mode=control"],
    // The seccomp filter of QEMU: what a guest that breaks out of it can no longer do.
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    // A legacy transport does not offer VIRTIO_F_VERSION_1.
    ...["-global", "virtio-mmio.force-legacy=false"],
    ...["-kernel", machine.kernel],
    ...(machine.initrd === undefined ? [] : ["-initrd", machine.initrd]),
    ...["-append", machine.commandLine],
  ];
  let transport = LAST_TRANSPORT;
  // The guest finds devices from the last transport down.
  const add = (device: string) => {
    args.push("-device", `${device},bus=virtio-mmio-bus.${transport}`);
    transport -= 1;
  };
  machine.disks.forEach(({ path, readOnly = false }, i) => {
    const file = { driver: "file", filename: path, "read-only": readOnly };
    const disk = { driver: "raw", "node-name": `disk${i}`, "read-only": readOnly, file };
    args.push("-blockdev", JSON.stringify(disk));
    add(`virtio-blk-device,drive=disk${i}`);
  });
  machine.frontEnds.forEach(({ device, properties, socketPath }, i) => {
    args.push("-chardev", `socket,id=device${i},path=${quote(socketPath)}`);
    const values = Object.entries(properties).map(([name, value]) => `,${name}=${quote(value)}`);
    add(`${device},chardev=device${i}${values.join("")}`);
  });
  add("virtio-rng-device");
  // Memory that the guest frees goes back to the host. A machine full of devices does without.
  if (transport >= 0) add("virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on");
  return args;
}
