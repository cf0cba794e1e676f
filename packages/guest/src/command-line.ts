import { GuestError } from "./errors.js";

/** A virtio-fs share of the host, mounted in the guest. */
export interface GuestShare {
  /** Tag of the virtio-fs device. */
  tag: string;
  /** Absolute path in the guest; directories are made where missing. */
  path: string;
  readOnly?: boolean;
  /** Maps files through the device's DAX window instead of copying them into guest memory. */
  dax?: boolean;
}

/** A block device with a file system, mounted in the guest. */
export interface GuestDisk {
  /** Device in the guest, such as `/dev/vdb`. */
  device: string;
  /** Absolute path in the guest. */
  path: string;
  /** `ext4` unless given; the kernel also has `erofs`. */
  fileSystem?: string;
  readOnly?: boolean;
}

/** What a guest is told on its kernel command line. */
export interface CommandLineOptions {
  /** Device with the image's file system; without it the guest stays in its initramfs. */
  root?: string;
  /** Type of that file system; `erofs` unless given. For `virtiofs`, `root` is the tag. */
  rootFileSystem?: string;
  /** Mount options of the root file system, such as `dax` for a root on `/dev/pmem0`. */
  rootOptions?: string;
  /** Writable layer over the root: in guest memory (`tmpfs`, the default), on an ext4 device, or `none`. */
  overlay?: string;
  hostname?: string;
  shares?: readonly GuestShare[];
  disks?: readonly GuestDisk[];
  /** Kernel console, such as `ttyS0` or `hvc0`. Without one the kernel boots silently, and faster. */
  console?: string;
  /** Lets kernel messages through to the console; otherwise only what ends the machine. */
  verbose?: boolean;
  /**
   * How the kernel resets the machine: by a triple fault (the default), which every machine understands, or
   * by the keyboard controller's reset line, which a machine can tell from a crash.
   */
  reset?: "triple-fault" | "keyboard-controller";
  /** How the machine ends: a reset by triple fault (`reboot`, the default) needs no device for it. */
  powerOff?: "reboot" | "poweroff" | "halt";
  /** Static network configuration, in the form of the kernel's `ip=` parameter. */
  ip?: string;
  /** Further words, given to the kernel as they are. */
  extra?: readonly string[];
}

/** x86 COMMAND_LINE_SIZE, with its terminating NUL. */
const COMMAND_LINE_MAX = 2048;

/**
 * The kernel command line for a guest of this package's kernel and agent.
 *
 * @throws {@link GuestError} ERR_COMMAND_LINE when something cannot be expressed or the line is over 2047 bytes.
 */
export function kernelCommandLine(options: CommandLineOptions = {}): string {
  const words = [
    // A panic, and with it the end of PID 1, resets the machine at once.
    "panic=-1",
    options.reset === "keyboard-controller" ? "reboot=k" : "reboot=t",
    // The clock is set from the host; waiting for a keyboard controller or a bus that is not there costs time.
    "no_timer_check",
    // An idle guest sleeps: of nine wake-ups a second these were five. Memory is compacted when it is needed.
    "sysctl.vm.compaction_proactiveness=0",
    "sysctl.vm.stat_interval=10",
    ...(options.console ? [`console=${options.console}`] : []),
    ...(options.verbose ? [] : ["loglevel=2"]),
    ...(options.ip ? [`ip=${options.ip}`] : []),
    ...setting("root", options.root),
    ...setting("roottype", options.rootFileSystem),
    ...setting("rootflags", options.rootOptions),
    ...setting("overlay", options.overlay),
    ...setting("hostname", options.hostname),
    ...setting("poweroff", options.powerOff),
    ...(options.shares ?? []).map(shareWord),
    ...(options.disks ?? []).map(diskWord),
    ...(options.extra ?? []),
  ];
  const line = words.join(" ");
  if (/[\0\n"]/.test(line)) throw invalid("contains a quote, newline or NUL");
  const size = Buffer.byteLength(line);
  if (size >= COMMAND_LINE_MAX) {
    throw invalid(`is ${size} bytes, the kernel takes ${COMMAND_LINE_MAX - 1}; mount fewer shares`);
  }
  return line;
}

function setting(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`supermachine.${name}=${percentEncode(value)}`];
}

function shareWord({ tag, path, readOnly, dax }: GuestShare): string {
  const options = [...(readOnly ? ["ro"] : []), ...(dax ? ["dax"] : [])].join(",");
  return mountWord("mount", [tag, absolute(path)], options);
}

function diskWord({ device, path, fileSystem = "ext4", readOnly }: GuestDisk): string {
  return mountWord("disk", [device, fileSystem, absolute(path)], readOnly ? "ro" : "");
}

function mountWord(name: string, fields: string[], options: string): string {
  if (fields.includes("")) throw invalid(`has an empty field in supermachine.${name}`);
  return `supermachine.${name}=${[...fields.map(percentEncode), ...(options ? [options] : [])].join(":")}`;
}

function absolute(path: string): string {
  if (!path.startsWith("/") || path === "/" || path.split("/").includes("..")) {
    throw invalid(
      `cannot mount on ${JSON.stringify(path)}: an absolute path other than / is needed`,
    );
  }
  return path;
}

/** Percent-encodes what separates words and fields, and all that is not printable ASCII. */
function percentEncode(value: string): string {
  if (value.includes("\0")) throw invalid("contains a NUL");
  let encoded = "";
  for (const byte of Buffer.from(value)) {
    const char = String.fromCharCode(byte);
    encoded += /[A-Za-z0-9_.,/=@+-]/.test(char)
      ? char
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

function invalid(why: string): GuestError {
  return new GuestError("ERR_COMMAND_LINE", `kernel command line ${why}`);
}
