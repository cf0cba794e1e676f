import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Executor } from "../executor.js";
import { knows, type Target } from "../target.js";
import { type Case, parseTable } from "./table.js";
import { tables } from "./tables/index.js";

const ERRNO = /^E[A-Z0-9]+$/;

/** All cases of all tables, by operation. */
export function posixCases(): Map<string, Case[]> {
  return new Map(Object.entries(tables).map(([name, text]) => [name, parseTable(text)]));
}

/** Declares tests of what POSIX and the Linux manual pages say about each operation. */
export function testPosix(target: Target): void {
  describe(`POSIX on ${target.name}`, () => {
    let executor: Executor;
    beforeAll(async () => {
      executor = await target.start();
    });
    afterAll(() => executor?.[Symbol.asyncDispose]());

    for (const [operation, cases] of posixCases()) {
      const possible = cases.filter((each) => isPossible(target, each));
      if (possible.length === 0) continue;
      describe(operation, () => {
        for (const each of possible) test(each.name, () => check(executor, each));
      });
    }
  });
}

function isPossible(target: Target, { needs, rows }: Case): boolean {
  return (
    !needs.some((feature) => target.lacks?.includes(feature)) &&
    rows.every(({ command }) => knows(target, command))
  );
}

async function check(executor: Executor, { rows }: Case): Promise<void> {
  const [, ...answers] = await executor.run(["reset", ...rows.map(({ command }) => command)]);
  const actual = rows.map(({ command }, at) => `${command} -> ${answers[at]}`);
  const expected = rows.map(({ command, answer }, at) => {
    const found = answers[at] ?? "";
    return `${command} -> ${answer ?? (ERRNO.test(found) ? "success" : found)}`;
  });
  expect(actual).toEqual(expected);
}
