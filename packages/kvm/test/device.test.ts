import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility } from "@supermachine-internal/testing";
import { describe, expect, test } from "vitest";
import { Kvm, KvmError } from "../src/index.js";

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KvmError) return error.code;
    throw error;
  }
  return "no error";
}

describe("without a usable device", () => {
  test("a missing device says what to load or enable", () => {
    const kvm = new Kvm({ device: join(tmpdir(), "no-such-device") });
    const availability = kvm.isAvailable();
    expect(availability).toEqual({
      usable: false,
      reason: expect.stringMatching(/ENOENT: load the kvm_intel or kvm_amd module/),
    });
    expect(codeOf(() => kvm.createVm())).toBe("ERR_KVM_DEVICE");
  });

  test("a device that is not KVM is named", () => {
    const kvm = new Kvm({ device: "/dev/null" });
    const reason = expect.stringMatching(/\/dev\/null is not a KVM device/);
    expect(kvm.isAvailable()).toEqual({ usable: false, reason });
  });

  requireFacility("root", "kvm").test("a forbidden device says which group to join", () => {
    const driver = new URL("../node_modules/.driver/driver.js", import.meta.url).href;
    const script = `
      const { createHypervisor } = await import(${JSON.stringify(driver)});
      process.setgroups([]); process.setgid(65534); process.setuid(65534);
      process.stdout.write(JSON.stringify(createHypervisor().isAvailable()));`;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", script]).toString();
    const availability = JSON.parse(output);
    if ((statSync("/dev/kvm").mode & 0o006) === 0o006) expect(availability.usable).toBe(true);
    else expect(availability.reason).toMatch(/EACCES: add your user to the group kvm/);
  });
});

test("a signal that cannot serve as a kick is refused with those that can", () => {
  for (const kickSignal of [0, 9, 10, 11, 40, 99, Number.NaN]) {
    expect(codeOf(() => new Kvm({ kickSignal }))).toBe("ERR_KVM_ARGUMENT");
  }
  expect(() => new Kvm({ kickSignal: 40 })).toThrow(/choose 23, 12, 29$/);
});

test("memory of no or an impossible size is refused", () => {
  for (const size of [0, -1, 1.5, Number.POSITIVE_INFINITY]) {
    expect(codeOf(() => new Kvm().allocateMemory(size))).toBe("ERR_KVM_ARGUMENT");
  }
});

test("a window of files that is no multiple of 2 MiB, or larger than any address space, is refused", () => {
  for (const size of [0, -(2 << 20), 4096, (2 << 20) + 4096, Number.NaN]) {
    expect(codeOf(() => new Kvm().createFileWindow(size))).toBe("ERR_KVM_ARGUMENT");
  }
  expect(codeOf(() => new Kvm().createFileWindow(2 ** 52))).toBe("ERR_KVM_ARGUMENT");
});

const kvm = new Kvm();
const availability = kvm.isAvailable();
const usable = {
  name: "kvm",
  missing: availability.usable ? undefined : availability.reason,
};

requireFacility(usable).describe("with a device", () => {
  test("a failed ioctl says which, why and what to do", () => {
    using vm = kvm.createVm();
    const slot = { slot: 0, guestAddress: 0, hostAddress: 0x1000n, size: 100 };
    try {
      vm.mapMemory(slot);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(KvmError);
      expect(error).toMatchObject({
        code: "ERR_KVM_IOCTL",
        ioctl: "KVM_SET_USER_MEMORY_REGION",
        errnoName: "EINVAL",
        message: expect.stringMatching(/multiples of 4096/),
      });
    }
  });

  test("more vCPUs than the host allows are refused before anything is made", () => {
    expect(codeOf(() => kvm.createVm({ maxVcpus: 1_000_000 }))).toBe("ERR_KVM_ARGUMENT");
  });

  test("a signal that has a handler is not taken over", () => {
    // libuv installs a handler for SIGUSR2 here.
    const listener = () => undefined;
    process.on("SIGUSR2", listener);
    try {
      using vm = new Kvm({ kickSignal: 12 }).createVm();
      expect(codeOf(() => vm.createVcpu(0))).toBe("ERR_KVM_SIGNAL_IN_USE");
      using other = kvm.createVm();
      other.createVcpu(0).close();
    } finally {
      process.off("SIGUSR2", listener);
    }
  });

  test("the local APIC cannot be read without an interrupt controller, and the error says so", () => {
    using vm = kvm.createVm();
    using vcpu = vm.createVcpu(0);
    expect(() => vcpu.x86.getLapic()).toThrow(/KVM_GET_LAPIC.*interrupt controller/);
  });
});
