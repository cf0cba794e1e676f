import { constants } from "node:os";
import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { capabilityNumber, keptCapabilities } from "./capabilities.js";
import { systemCallFilter } from "./seccomp.js";
import { type SystemCall, systemCallNumber, systemCalls } from "./system-call-numbers.js";
import * as sys from "./system-calls.js";

const KILL = 0x8000_0000;
const ALLOW = 0x7fff_0000;
const NOT_THERE = 0x0005_0000 | constants.errno.ENOSYS;
const ARCH = process.arch === "arm64" ? 0xc000_00b7 : 0xc000_003e;

/** What the kernel would do: a few instructions of classic BPF, run over a `struct seccomp_data`. */
function judge(number: number, argument = 0, arch = ARCH): number {
  const data = new Map([
    [0, number],
    [4, arch],
    [16, argument],
  ]);
  const program = systemCallFilter("kill");
  let loaded = 0;
  for (let at = 0; at < program.length; at += 8) {
    const code = program.readUInt16LE(at);
    const k = program.readUInt32LE(at + 4);
    const jump = (holds: boolean) => {
      at += 8 * program.readUInt8(at + (holds ? 2 : 3));
    };
    if (code === 0x20) loaded = data.get(k) ?? -1;
    else if (code === 0x06) return k;
    else if (code === 0x15) jump(loaded === k);
    else if (code === 0x35) jump(loaded >= k);
    else if (code === 0x45) jump((loaded & k) !== 0);
    else throw new Error(`unknown instruction ${code}`);
  }
  throw new Error("the program ends without an answer");
}

const call = (name: SystemCall, argument?: number) => judge(systemCallNumber(name), argument);

describe("the filter of system calls", () => {
  test("lets through what a server of files needs", () => {
    const needed = [
      "openat2",
      "preadv",
      "mknodat",
      "setfsuid",
      "futex",
      "accept4",
      "mmap",
    ] as const;
    for (const name of needed) expect([name, call(name)]).toEqual([name, ALLOW]);
    expect(call("clone", 0x3d_0f00)).toBe(ALLOW);
    expect(call("prctl", 15)).toBe(ALLOW);
  });

  test("ends the process for what only an intruder would call", () => {
    const fatal = [
      "execve",
      "ptrace",
      "mount",
      "setns",
      "socket",
      "bpf",
      "chroot",
      "unshare",
    ] as const;
    for (const name of fatal) expect([name, call(name)]).toEqual([name, KILL]);
    expect(call("clone", 17)).toBe(KILL);
    expect(judge(systemCallNumber("read"), 0, 0x4000_0003)).toBe(KILL);
    expect(judge(0x4000_0000 + systemCallNumber("read"))).toBe(KILL);
  });

  test("has an answer for every number, and lets no other through", () => {
    const known = new Set(
      Object.keys(systemCalls).map((name) => systemCallNumber(name as SystemCall)),
    );
    expect(call("seccomp")).toBe(NOT_THERE);
    expect(call("prctl", 22)).toBe(NOT_THERE);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 600 }), fc.nat(), (number, argument) => {
        const answer = judge(number, argument);
        expect([KILL, ALLOW, NOT_THERE]).toContain(answer);
        if (!known.has(number)) expect(answer).toBe(NOT_THERE);
      }),
    );
  });
});

test("capabilities are changed as asked, and only those that exist", () => {
  const kept = keptCapabilities("+sys_admin:-CAP_MKNOD");
  expect(kept.has(capabilityNumber("sys_admin"))).toBe(true);
  expect(kept.has(capabilityNumber("mknod"))).toBe(false);
  expect(kept.has(capabilityNumber("chown"))).toBe(true);
  for (const wrong of ["sys_admin", "+fly", "+"]) {
    expect(() => keptCapabilities(wrong)).toThrow(
      expect.objectContaining({ code: "ERR_FSD_OPTION" }),
    );
  }
});

const { test: testWithHeaders } = requireFacility("linux", "program:cc");

testWithHeaders("structs and constants are those of the kernel's headers", () => {
  const { rlimit, mountAttr, capabilityHeader, capabilityData, sockFprog } = sys.sandboxStructs;
  const declared = new Map<string, bigint>([
    ...structLayout(rlimit),
    ...structLayout(mountAttr),
    ...structLayout(capabilityHeader),
    ...structLayout(capabilityData),
    ...structLayout(sockFprog),
    ["CAP_CHECKPOINT_RESTORE", BigInt(capabilityNumber("checkpoint_restore"))],
    ["CAP_SYS_ADMIN", BigInt(capabilityNumber("sys_admin"))],
    ["CAP_SETFCAP", BigInt(capabilityNumber("setfcap"))],
    ["CLONE_NEWNS", BigInt(sys.CLONE_NEWNS)],
    ["CLONE_NEWPID", BigInt(sys.CLONE_NEWPID)],
    ["CLONE_NEWNET", BigInt(sys.CLONE_NEWNET)],
    ["CLONE_NEWIPC", BigInt(sys.CLONE_NEWIPC)],
    ["CLONE_NEWUTS", BigInt(sys.CLONE_NEWUTS)],
    ["MS_BIND", BigInt(sys.MS_BIND)],
    ["MS_REC", BigInt(sys.MS_REC)],
    ["MS_SLAVE", BigInt(sys.MS_SLAVE)],
    ["MS_REMOUNT", BigInt(sys.MS_REMOUNT)],
    ["MOUNT_ATTR_NOEXEC", BigInt(sys.MOUNT_ATTR_NOEXEC)],
    ["MOUNT_ATTR_NODEV", BigInt(sys.MOUNT_ATTR_NODEV)],
  ]);
  const headers = [
    "linux/mount.h",
    "linux/capability.h",
    "linux/filter.h",
    "linux/sched.h",
    "linux/resource.h",
  ];
  const found = probeHeaders({ headers, expressions: declared.keys() });
  expect(found).toEqual(declared);
});

testWithHeaders("system calls have the numbers of the kernel's headers, on both platforms", () => {
  const generic = [
    "#define __ARCH_WANT_RENAMEAT",
    "#define __ARCH_WANT_NEW_STAT",
    "#define __ARCH_WANT_SET_GET_RLIMIT",
    "#define __ARCH_WANT_SYS_CLONE3",
    "#define __BITS_PER_LONG 64",
  ].join("\n");
  for (const [header, prelude, column] of [
    ["asm/unistd_64.h", "", 0],
    ["asm-generic/unistd.h", generic, 1],
  ] as const) {
    // Headers older than a call do not have it: -1 there, which is not compared.
    const names = Object.keys(systemCalls) as SystemCall[];
    const absent = names
      .map((name) => `#ifndef __NR_${name}\n#define __NR_${name} -1\n#endif`)
      .join("\n");
    const found = probeHeaders({
      headers: [header],
      prelude: `${prelude}\n#include <${header}>\n${absent}`,
      expressions: names.map((name) => `__NR_${name}`),
    });
    const wrong = names.filter((name) => {
      const value = Number(found.get(`__NR_${name}`));
      return value !== -1 && value !== systemCalls[name][column];
    });
    expect([header, wrong]).toEqual([header, []]);
  }
});
