import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { requireFacility } from "@supermachine-internal/testing";
import { expect } from "vitest";

// The built command, as a user runs it.
const CLI = fileURLToPath(new URL("../../packages/supermachine/dist/cli.js", import.meta.url));
const { test } = requireFacility("lab");
const MiB = 2 ** 20;

function supermachine(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: "utf8",
    timeout: 120_000,
  });
  expect({ status, stderr }, args.join(" ")).toEqual({ status: 0, stderr: "" });
  return stdout;
}

/** Host memory behind the machine's. */
function residentBytes(machine: string): number {
  const [, bytes] =
    /^supermachine_memory_resident_bytes\{.*\} (\d+)$/m.exec(supermachine("metrics", machine)) ??
    [];
  return Number(bytes);
}

test("memory that a guest frees goes back to the host", async () => {
  const run = ["run", "--detach", "--hypervisor", "kvm", "--name", "memory", "demo"];
  supermachine(...run, "--", "sleep", "600");
  try {
    const fill = "dd if=/dev/zero of=/big bs=1M count=100 2>/dev/null";
    supermachine("exec", "memory", "--", "sh", "-c", fill);
    const full = residentBytes("memory");
    expect(full).toBeGreaterThan(100 * MiB);
    supermachine("exec", "memory", "--", "rm", "/big");
    await expect
      .poll(() => residentBytes("memory"), { timeout: 30_000 })
      .toBeLessThan(full - 60 * MiB);
    expect(supermachine("metrics", "memory")).toMatch(
      /supermachine_vcpu_exits_total\{vm="memory",vcpu="0",reason="mmio"\} [1-9]/,
    );
  } finally {
    supermachine("kill", "memory");
  }
});
