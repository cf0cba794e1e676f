import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDirectory } from "@supermachine/guest/cache-directory";
import type { HypervisorKind } from "../machine/config.js";

/** What to run guests on: `auto` takes the first that really runs them. */
export type HypervisorName = "auto" | HypervisorKind;

/*
 * How fast guests run on KVM, measured once per boot of the host: some cloud machines offer a
 * /dev/kvm that interprets its guests, which no flag tells.
 */

/** A measurement. */
export interface KvmSpeed {
  readonly instructionsPerSecond: number;
  /** Fast enough to be preferred to an emulator. */
  readonly usable: boolean;
}

const path = () => join(cacheDirectory(), "kvm-speed.json");

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}

function isMeasurement(value: unknown): value is KvmSpeed & { boot: string } {
  if (typeof value !== "object" || value === null) return false;
  const { boot, instructionsPerSecond, usable } = value as Record<string, unknown>;
  return (
    typeof boot === "string" &&
    typeof instructionsPerSecond === "number" &&
    typeof usable === "boolean"
  );
}

/** What was measured since the host's boot, if anything was. */
export function rememberedKvmSpeed(): KvmSpeed | undefined {
  try {
    const cached: unknown = JSON.parse(readFileSync(path(), "utf8"));
    return isMeasurement(cached) && cached.boot === bootId() ? cached : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a measurement for later starts. */
export function rememberKvmSpeed(speed: KvmSpeed): void {
  try {
    const partial = `${path()}.${process.pid}.partial`;
    mkdirSync(dirname(partial), { recursive: true });
    writeFileSync(partial, JSON.stringify({ boot: bootId(), ...speed }));
    renameSync(partial, path());
  } catch {
    // A cache that cannot be written costs the next start a measurement.
  }
}

/** What `auto` picks, if an earlier start has found out. */
export function rememberedChoice(): HypervisorKind | undefined {
  return rememberedKvmSpeed()?.usable ? "kvm" : undefined;
}
