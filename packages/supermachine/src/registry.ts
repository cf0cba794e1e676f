import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SupermachineError } from "./errors.js";
import type { VmDescription } from "./machine/description.js";
import { type RuntimeEntry, runtimeEntries } from "./runtime-directory.js";

/*
 * The registry of machines is their runtime directories: what runs has one with a file that describes it.
 * There is nothing else to keep in step, and nothing to repair.
 */

const FILE = "vm.json";
/** A description whose name is not yet known to be free. */
const CLAIM = "vm.json.claim";
const CLAIM_POLL_MS = 5;
const CLAIM_TIMEOUT_MS = 2_000;
const VM_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

/** A machine that runs, and where its sockets are. */
export interface RegisteredVm {
  readonly directory: string;
  readonly description: VmDescription;
}

/** @throws {@link SupermachineError} ERR_OPTION. */
export function checkVmName(name: string): void {
  if (VM_NAME.test(name)) return;
  throw new SupermachineError(
    "ERR_OPTION",
    `the name ${JSON.stringify(name)}: give up to 63 letters, digits, "_", "." and "-", the first a letter or digit`,
  );
}

function read(directory: string, file: string): VmDescription | undefined {
  try {
    const value: VmDescription = JSON.parse(readFileSync(join(directory, file), "utf8"));
    return typeof value.name === "string" && typeof value.id === "string" ? value : undefined;
  } catch {
    // It has just ended, or has not come this far.
    return undefined;
  }
}

/** The machines of this user that are registered, oldest first. */
export function registeredVms(): RegisteredVm[] {
  return runtimeEntries()
    .flatMap(({ path }) => {
      const description = read(path, FILE);
      return description === undefined ? [] : [{ directory: path, description }];
    })
    .sort((a, b) => a.description.createdAt - b.description.createdAt);
}

/**
 * Finds a machine by its name, its id or the first digits of that.
 *
 * @throws {@link SupermachineError} ERR_VM_NOT_FOUND, also when the digits fit several.
 */
export function findVm(nameOrId: string): RegisteredVm {
  const all = registeredVms();
  const exact = all.find(({ description: { name, id } }) => name === nameOrId || id === nameOrId);
  if (exact !== undefined) return exact;
  const byPrefix = all.filter(({ description }) => description.id.startsWith(nameOrId));
  const [found] = byPrefix;
  if (found !== undefined && byPrefix.length === 1 && nameOrId !== "") return found;
  const names = all.map(({ description: { name } }) => name).join(", ");
  throw new SupermachineError(
    "ERR_VM_NOT_FOUND",
    byPrefix.length > 1 && nameOrId !== ""
      ? `several machines have an id that begins with ${nameOrId}`
      : `no machine ${nameOrId} runs; these do: ${names || "none"}`,
  );
}

/**
 * Registers a machine, whose runtime directory `directory` is, unless another one has its name. First each
 * announces the name it wants, then looks: of two that want one name at the same time, both see it.
 *
 * @throws {@link SupermachineError} ERR_VM_NAME_TAKEN.
 */
export async function register(directory: string, description: VmDescription): Promise<void> {
  const claim = join(directory, CLAIM);
  writeFileSync(claim, JSON.stringify(description));
  try {
    const deadline = performance.now() + CLAIM_TIMEOUT_MS;
    while (isContested(directory, description.name)) {
      if (performance.now() > deadline) throw nameTaken(description.name);
      await sleep(CLAIM_POLL_MS);
    }
    renameSync(claim, join(directory, FILE));
  } catch (error) {
    rmSync(claim, { force: true });
    throw error;
  }
}

/** Whether to wait for one that may get the name. Throws when another has it, or goes first. */
function isContested(directory: string, name: string): boolean {
  const others = runtimeEntries().filter(({ path }) => path !== directory);
  const wants = (file: string) => (entry: RuntimeEntry) => read(entry.path, file)?.name === name;
  const rivals = others.filter(wants(CLAIM));
  // Looked at after the claims: one that has turned into a registration between is seen here.
  if (others.some(wants(FILE)) || rivals.some(({ path }) => path < directory))
    throw nameTaken(name);
  return rivals.length > 0;
}

function nameTaken(name: string): SupermachineError {
  return new SupermachineError(
    "ERR_VM_NAME_TAKEN",
    `a machine named ${name} runs already: stop it, or give another name`,
  );
}
