import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import * as balloon from "../src/device/balloon/balloon-layout.js";
import * as block from "../src/device/block/block-layout.js";
import * as consoleDevice from "../src/device/console/console-device.js";
import * as fs from "../src/device/fs/fs-device.js";
import { VIRTIO_ID_RNG } from "../src/device/rng/rng-device.js";
import * as vsock from "../src/device/vsock/vsock-layout.js";
import * as feature from "../src/feature.js";
import * as ring from "../src/queue/ring-layout.js";
import * as mmio from "../src/transport/mmio-layout.js";

const headers = [
  "sys/socket.h",
  "linux/virtio_ring.h",
  "linux/virtio_balloon.h",
  "linux/virtio_blk.h",
  "linux/virtio_vsock.h",
  "linux/virtio_fs.h",
  "linux/virtio_console.h",
  "linux/virtio_mmio.h",
  "linux/virtio_config.h",
  "linux/virtio_ids.h",
  "linux/vm_sockets.h",
];

const { describe } = requireFacility("linux", "program:cc");

describe("layouts and numbers are those of the C headers", () => {
  const structs = [
    ring.vringDesc,
    ring.vringAvail,
    ring.vringUsed,
    ring.vringUsedElem,
    balloon.virtioBalloonConfig,
    balloon.virtioBalloonStat,
    block.virtioBlkConfig,
    block.virtioBlkOuthdr,
    block.virtioBlkDiscardWriteZeroes,
    consoleDevice.virtioConsoleConfig,
    fs.virtioFsConfig,
    vsock.virtioVsockConfig,
    vsock.virtioVsockEvent,
    vsock.virtioVsockHdr,
  ];

  test("structs", () => {
    const declared = new Map(structs.flatMap((struct) => structLayout(struct)));
    expect(probeHeaders({ headers, expressions: declared.keys() })).toEqual(declared);
  });

  test("constants", () => {
    const all = Object.entries({
      ...ring,
      ...balloon,
      ...block,
      ...consoleDevice,
      ...fs,
      ...vsock,
      ...mmio,
      ...feature,
      VIRTIO_ID_RNG,
    });
    /** Masks made of two constants of the header. */
    const combined = new Set(["VIRTIO_VSOCK_SHUTDOWN_BOTH"]);
    const constants = all.flatMap(([name, value]) => {
      if (!/^(VIRTIO|VRING|VMADDR)_/.test(name) || combined.has(name)) return [];
      // The headers number feature bits, we hold masks.
      const isMask = typeof value === "bigint";
      if (!isMask && typeof value !== "number") return [];
      return [[isMask ? `1ull << ${name}` : name, BigInt(value)] as const];
    });
    expect(constants.length).toBeGreaterThan(80);
    const declared = new Map(constants);
    expect(probeHeaders({ headers, expressions: declared.keys() })).toEqual(declared);
  });
});
