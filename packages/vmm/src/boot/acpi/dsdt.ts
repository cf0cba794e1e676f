import { COM1_GSI, COM1_PORT, COM1_PORTS } from "../../device/serial.js";
import { GENERATION_ID_ADDRESS, GENERATION_ID_GSI } from "../../memory-map.js";
import {
  aPackage,
  device,
  integer,
  interrupt,
  memory32,
  method,
  name,
  notify,
  ports,
  resources,
  scope,
  string,
} from "./aml.js";

/** Where a virtio-mmio device is. */
export interface MmioWindow {
  readonly address: number;
  readonly size: number;
  readonly gsi: number;
}

/** SLP_TYP of soft off. What it is does not matter: the machine has no other sleep state. */
const SOFT_OFF = 5;
/** Of the devices of this specification, the value of Notify for "the generation id has changed". */
const GENERATION_ID_CHANGED = 0x80;

/** The definition block of the DSDT: what a machine consists of besides processors and interrupt controllers. */
export function buildDefinitionBlock(devices: readonly MmioWindow[]): Uint8Array {
  const serialPort = device(
    "COM1",
    name("_HID", string("PNP0501")),
    name("_UID", integer(1)),
    name("_CRS", resources(ports(COM1_PORT, COM1_PORTS), interrupt(COM1_GSI))),
  );
  // "Virtual Machine Generation ID", Microsoft, 2012. The first compatible id, which it asks for, is longer
  // than ACPI allows; the second is what Hyper-V has beside it and Linux looks for.
  const generationId = device(
    "VGEN",
    name("_HID", string("SUPM0001")),
    name("_CID", aPackage(string("VM_Gen_Counter"), string("VMGENCTR"))),
    name("_DDN", string("VM_Gen_Counter")),
    name("ADDR", aPackage(integer(GENERATION_ID_ADDRESS), integer(0))),
  );
  // Generic Event Device (section 5.6.9): an interrupt whose handler is AML.
  const events = device(
    "GED",
    name("_HID", string("ACPI0013")),
    name("_UID", integer(0)),
    name("_CRS", resources(interrupt(GENERATION_ID_GSI))),
    method("_EVT", 1, notify("VGEN", GENERATION_ID_CHANGED)),
  );
  const virtio = devices.map(({ address, size, gsi }, index) =>
    device(
      `VR${index.toString(16).toUpperCase().padStart(2, "0")}`,
      name("_HID", string("LNRO0005")),
      name("_UID", integer(index)),
      name("_CRS", resources(memory32(address, size), interrupt(gsi))),
    ),
  );
  const powerOff = name("_S5", aPackage(integer(SOFT_OFF), integer(0), integer(0), integer(0)));
  return Buffer.concat([
    scope("_SB", serialPort, generationId, events, ...virtio).bytes,
    powerOff.bytes,
  ]);
}
