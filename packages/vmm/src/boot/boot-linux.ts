import type { GuestMemory } from "@supermachine/virtio";
import { openBootFile } from "../boot-file.js";
import type { DeviceBus } from "../device-bus.js";
import type { MachineOptions } from "../machine-options.js";
import { ACPI_ADDRESS, type RamRange } from "../memory-map.js";
import { writeAcpiTables } from "./acpi/tables.js";
import { type LinuxEntry, loadLinux } from "./linux.js";
import { writeLongModeTables } from "./long-mode.js";
import { writeMpTable } from "./mp-table.js";

/** Puts all into memory that a kernel finds when it starts: itself, its parameters, what machine it is on. */
export function bootLinux(
  memory: GuestMemory,
  ram: readonly RamRange[],
  bus: DeviceBus,
  options: Partial<MachineOptions>,
  cpus: number,
): LinuxEntry {
  const { acpi = false } = options;
  using kernel = openBootFile(options.kernel ?? "", "kernel");
  using initrd =
    options.initrd === undefined ? undefined : openBootFile(options.initrd, "initial RAM disk");
  // Without ACPI the guest learns of its devices from the command line.
  const parameters = acpi ? "" : bus.kernelParameters();
  const commandLine = `${options.commandLine ?? ""} ${parameters}`.trim();
  const acpiRoot = acpi ? ACPI_ADDRESS : undefined;
  const entry = loadLinux(memory, ram, { kernel, initrd, commandLine, acpiRoot });
  writeLongModeTables(memory);
  if (acpi) writeAcpiTables(memory, cpus, bus.windows());
  else writeMpTable(memory, cpus);
  return entry;
}
