import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stdout } from "node:process";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  type CommandLineOptions,
  ensureInitramfs,
  findKernel,
  kernelCommandLine,
} from "../src/index.js";

const kernel = await findKernel();
const { describe } = requireFacility(
  "program:qemu-system-x86_64",
  "program:mkfs.erofs",
  "program:mkfs.ext4",
  "program:debugfs",
  "program:e2fsck",
  {
    name: "guest-kernel",
    missing: kernel ? undefined : "build it (scripts/build-kernel.sh) or set SUPERMACHINE_KERNEL",
  },
);

/** Boots until the machine ends, and returns its console. The machine has no vsock: the agent cannot get further. */
async function boot(options: CommandLineOptions, disks: string[] = []): Promise<string> {
  const initramfs = await ensureInitramfs();
  const args = [
    ...["-M", "microvm,acpi=off,rtc=off", "-global", "virtio-mmio.force-legacy=false"],
    ...[
      "-accel",
      "tcg",
      "-cpu",
      "max",
      "-m",
      "192",
      "-nodefaults",
      "-no-user-config",
      "-no-reboot",
    ],
    ...["-display", "none", "-serial", "stdio", "-kernel", kernel ?? "", "-initrd", initramfs],
    ...["-append", kernelCommandLine({ console: "ttyS0", ...options })],
    // Devices are found last first.
    ...disks
      .flatMap((file, i) => [
        ["-drive", `id=d${i},file=${file},format=raw,if=none`],
        ["-device", `virtio-blk-device,drive=d${i}`],
      ])
      .flat(),
  ];
  const qemu = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "inherit"] });
  const timer = setTimeout(() => qemu.kill("SIGKILL"), 60_000);
  let text = "";
  for await (const chunk of qemu.stdout) text += chunk;
  clearTimeout(timer);
  return text;
}

describe("the guest under QEMU/TCG", () => {
  let directory: string;
  let root: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "guest-boot-"));
    mkdirSync(join(directory, "root"));
    writeFileSync(join(directory, "root/marker"), "from the image");
    root = join(directory, "root.erofs");
    execFileSync("mkfs.erofs", [root, join(directory, "root")], { stdio: "pipe" });
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  it("boots to the agent, which says that it has no way to the host, and resets", async () => {
    const console = await boot({ verbose: true });
    expect(console).toContain("the machine has no vsock device");
    expect(console).toContain("reboot: machine restart");
    const start = /\[ *([\d.]+)\] Run \/init/.exec(console)?.[1];
    stdout.write(`kernel reached /init at ${start} s of guest time\n`);
  });

  it("prints nothing but the agent's complaint unless verbose", async () => {
    const console = await boot({});
    expect(console.trim()).toMatch(
      /^supermachine: cannot start: [^\n]*\n\[[^\n]*reboot: Restarting system$/,
    );
  });

  it("mounts an EROFS root and overlay, and leaves a clean writable disk behind", async () => {
    const upper = join(directory, "upper.ext4");
    execFileSync("mkfs.ext4", ["-q", "-F", upper, "16M"]);
    const console = await boot({ root: "/dev/vda", overlay: "/dev/vdb", hostname: "box" }, [
      root,
      upper,
    ]);
    expect(console).toContain("the machine has no vsock device");
    const debugfs = (command: string) =>
      execFileSync("debugfs", ["-R", command, upper], {
        stdio: ["ignore", "pipe", "pipe"],
      }).toString();
    expect(debugfs("cat /upper/etc/hosts")).toContain("127.0.1.1\tbox");
    expect(debugfs("ls /upper")).toMatch(/proc.*sys|sys.*proc/);
    const check = spawnSync("e2fsck", ["-fn", upper]);
    expect(check.stdout.toString()).not.toMatch(/not cleanly|recover/i);
    expect(check.status).toBe(0);
  });

  it.each<[string, CommandLineOptions, RegExp]>([
    ["a root device that is not there", { root: "/dev/vdz" }, /device \/dev\/vdz did not appear/],
    [
      "a share without its device",
      { root: "/dev/vda", shares: [{ tag: "none", path: "/mnt" }] },
      /mount none \(virtiofs\) on \/mnt: /,
    ],
    [
      "a root of another type",
      { root: "/dev/vda", rootFileSystem: "ext4" },
      /mount \/dev\/vda \(ext4\) on \/lower/,
    ],
    [
      "an option it does not know",
      { extra: ["supermachine.nonsense=1"] },
      /unknown supermachine option/,
    ],
  ])("names the step that failed: %s", async (_name, options, message) => {
    expect(await boot(options, [root])).toMatch(message);
  });
}, 90_000);
