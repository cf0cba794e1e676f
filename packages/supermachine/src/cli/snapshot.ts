import { SnapshotStore } from "../snapshot/snapshot-store.js";
import { Vm } from "../vm.js";
import { ago, table } from "./table.js";

/** The flags of `supermachine snapshot create`, as parsed. */
export interface SnapshotCreateFlags {
  /** Name of another snapshot. */
  readonly base?: string;
}

/** `supermachine snapshot create` */
export async function createSnapshot(
  machine: string,
  name: string,
  flags: SnapshotCreateFlags,
): Promise<void> {
  const store = new SnapshotStore();
  const directory = await store.pathFor(name);
  const base = flags.base === undefined ? undefined : await store.find(flags.base);
  const vm = await Vm.connect(machine);
  try {
    await vm.snapshot(directory, base === undefined ? {} : { base });
  } finally {
    vm.close();
  }
  process.stdout.write(`${name}\n`);
}

/** `supermachine snapshot ls` */
export async function listSnapshots(flags: { json: boolean }): Promise<void> {
  const snapshots = await new SnapshotStore().list();
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(snapshots, null, 2)}\n`);
    return;
  }
  const lines = snapshots.map(({ name, image, cpus, memoryMiB, size, createdAt }) => [
    name,
    image,
    String(cpus),
    `${memoryMiB} MiB`,
    `${(size / 2 ** 20).toFixed(1)} MiB`,
    ago(Date.now() - createdAt.getTime()),
  ]);
  process.stdout.write(table([["NAME", "IMAGE", "CPUS", "MEMORY", "SIZE", "CREATED"], ...lines]));
}

/** `supermachine snapshot rm` */
export async function removeSnapshots(names: readonly string[]): Promise<void> {
  const store = new SnapshotStore();
  for (const name of names) await store.remove(name);
}
