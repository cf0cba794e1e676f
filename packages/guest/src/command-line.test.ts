import { describe, expect, it } from "vitest";
import { kernelCommandLine } from "./command-line.js";

describe("kernelCommandLine", () => {
  it("boots silently and resets at the end unless told otherwise", () => {
    expect(kernelCommandLine()).toBe(
      "panic=-1 reboot=t no_timer_check sysctl.vm.compaction_proactiveness=0 sysctl.vm.stat_interval=10 loglevel=2",
    );
  });

  it("names root, shares and disks, with what separates fields encoded", () => {
    const line = kernelCommandLine({
      root: "/dev/vda",
      hostname: "box",
      console: "hvc0",
      verbose: true,
      shares: [{ tag: "my tag", path: "/a:b", readOnly: true, dax: true }],
      disks: [{ device: "/dev/vdb", path: "/data" }],
      extra: ["lpj=1"],
    });
    expect(line).toBe(
      "panic=-1 reboot=t no_timer_check sysctl.vm.compaction_proactiveness=0 sysctl.vm.stat_interval=10 console=hvc0 supermachine.root=/dev/vda supermachine.hostname=box " +
        "supermachine.mount=my%20tag:/a%3Ab:ro,dax supermachine.disk=/dev/vdb:ext4:/data lpj=1",
    );
  });

  it.each([
    [{ shares: [{ tag: "t", path: "relative" }] }, /absolute/],
    [{ shares: [{ tag: "t", path: "/a/../b" }] }, /absolute/],
    [{ shares: [{ tag: "", path: "/a" }] }, /empty/],
    [{ hostname: "a\0b" }, /NUL/],
    [{ extra: ['a="b"'] }, /quote/],
    [{ extra: ["x".repeat(2048)] }, /2047/],
  ])("refuses %j", (options, message) => {
    expect(() => kernelCommandLine(options)).toThrow(message);
  });
});
