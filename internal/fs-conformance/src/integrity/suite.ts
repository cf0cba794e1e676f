import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { pseudoRandom, showBytes } from "../data.js";
import { type Effort, timeoutMs } from "../inputs.js";
import type { Target } from "../target.js";
import { FileModel } from "./file-model.js";

/** Files stay below this size, the length of the mapping. */
const LIMIT = 512 * 1024;

/** One command, with the answer that the model gives. */
type Step = (model: FileModel) => { command: string; answer: string };

// Around pages, and around the size of the largest FUSE request at times.
const offset = fc.oneof(
  { weight: 3, arbitrary: fc.nat(70_000) },
  { weight: 2, arbitrary: fc.nat(60).map((page) => page * 4096) },
  { weight: 1, arbitrary: fc.nat(LIMIT / 2) },
);
const length = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 9000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: LIMIT / 2 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 8 }).map((pages) => pages * 4096) },
);
const seed = fc.integer({ min: 1, max: 2 ** 31 - 1 });
/** Two descriptors of the same file. */
const slot = fc.constantFrom(0, 1);

const write = fc.tuple(slot, length, seed, offset).map(([fd, count, from, at]): Step => {
  return (model) => {
    model.write(pseudoRandom(count, from), at);
    return { command: `pwrite ${fd} #${count}:${from} ${at}`, answer: String(count) };
  };
});
const append = fc.tuple(length, seed).map(([count, from]): Step => {
  return (model) => {
    const room = Math.min(count, LIMIT - model.size);
    if (room <= 0) return { command: "truncate f 0", answer: empty(model) };
    model.write(pseudoRandom(room, from), model.size);
    return { command: `append 2 #${room}:${from}`, answer: String(room) };
  };
});
const read = fc.tuple(slot, length, offset).map(([fd, count, at]): Step => {
  return (model) => ({
    command: `pread ${fd} ${count} ${at}`,
    answer: showBytes(model.read(count, at)),
  });
});
const truncate = fc.tuple(fc.constantFrom("f", "@0"), offset).map(([file, size]): Step => {
  return (model) => {
    model.truncate(size);
    return { command: `truncate ${file} ${size}`, answer: "0" };
  };
});
const mapRead = fc.tuple(length, offset).map(([count, at]): Step => {
  return (model) => {
    const within = Math.min(count, model.size - at);
    if (within <= 0) return { command: "stat f size", answer: String(model.size) };
    return {
      command: `mread 0 ${within} ${at}`,
      answer: showBytes(model.read(within, at)),
    };
  };
});
const mapWrite = fc.tuple(length, seed, offset).map(([count, from, at]): Step => {
  return (model) => {
    const within = Math.min(count, model.size - at);
    if (within <= 0) return { command: "fsync 0", answer: "0" };
    model.write(pseudoRandom(within, from), at);
    return { command: `mwrite 0 #${within}:${from} ${at}`, answer: "0" };
  };
});
const punch = fc.tuple(slot, offset, length).map(([fd, at, count]): Step => {
  return (model) => {
    model.punch(at, count);
    const mode = "FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE";
    return { command: `fallocate ${fd} ${mode} ${at} ${count}`, answer: "0" };
  };
});
const allocate = fc.tuple(slot, offset, length).map(([fd, at, count]): Step => {
  return (model) => {
    if (model.size < at + count) model.truncate(at + count);
    return { command: `fallocate ${fd} 0 ${at} ${count}`, answer: "0" };
  };
});
const copy = fc.tuple(offset, offset, length).map(([from, to, count]): Step => {
  return (model) => {
    // Ranges that overlap are refused.
    const apart = Math.min(count, Math.abs(from - to), Math.max(0, model.size - from));
    model.write(model.read(apart, from), to);
    return { command: `copy 0 ${from} 1 ${to} ${apart}`, answer: String(apart) };
  };
});
const sync = fc.constantFrom("fsync 0", "fdatasync 1", "msync 0").map((command): Step => {
  return () => ({ command, answer: "0" });
});
const reopen = fc.constant((): ReturnType<Step> => ({ command: "open 0 f O_RDWR", answer: "0" }));

function empty(model: FileModel): string {
  model.truncate(0);
  return "0";
}

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: write },
    { weight: 2, arbitrary: append },
    { weight: 6, arbitrary: read },
    { weight: 3, arbitrary: truncate },
    { weight: 3, arbitrary: mapRead },
    { weight: 4, arbitrary: mapWrite },
    { weight: 2, arbitrary: punch },
    { weight: 1, arbitrary: allocate },
    { weight: 2, arbitrary: copy },
    { weight: 1, arbitrary: sync },
    { weight: 1, arbitrary: reopen },
  ),
  { minLength: 1, maxLength: 60, size: "max" },
);

const BEGINNING = [
  "reset",
  "open 0 f O_RDWR|O_CREAT",
  "open 1 f O_RDWR",
  "open 2 f O_WRONLY|O_APPEND",
  `mmap 0 0 PROT_READ|PROT_WRITE MAP_SHARED 0 ${2 * LIMIT}`,
];

/**
 * Declares a test that a file holds what was written to it, whichever of read, write, truncate,
 * mappings, holes and copies come together.
 */
export function testIntegrity(target: Target, { inputs = 40 }: Effort = {}): void {
  test(
    `a file on ${target.name} holds what was written, mapped, copied and cut off`,
    async () => {
      await using executor = await target.start();
      const property = fc.asyncProperty(steps, async (sequence) => {
        const model = new FileModel();
        const rows = sequence.map((step) => step(model));
        rows.push({ command: "stat f size", answer: String(model.size) });
        rows.push({ command: "cat f", answer: showBytes(model.read(model.size, 0)) });
        const commands = rows.map(({ command }) => command);
        const answers = (await executor.run([...BEGINNING, ...commands])).slice(BEGINNING.length);
        expect(commands.map((command, at) => `${command} -> ${answers[at]}`)).toEqual(
          rows.map(({ command, answer }) => `${command} -> ${answer}`),
        );
      });
      await fc.assert(property, { numRuns: runs(inputs) });
    },
    timeoutMs(),
  );
}
