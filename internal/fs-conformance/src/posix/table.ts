import { pseudoRandom, showBytes } from "../data.js";
import type { Feature } from "../target.js";

/** One command and the answer that it must get; undefined stands for any but an errno. */
export interface Row {
  readonly command: string;
  readonly answer: string | undefined;
}

/** Rows that start from an empty directory. */
export interface Case {
  /** A sentence about behaviour. */
  readonly name: string;
  readonly needs: readonly Feature[];
  readonly rows: readonly Row[];
}

/** Users of the tables. Carol is a member of alice's group, too. */
const USERS: Readonly<Record<string, string>> = {
  alice: "as 1001:1001",
  bob: "as 1002:1002",
  carol: "as 1003:1003+1001",
};

/**
 * Reads a table:
 *
 * ```text
 * # mkdir needs write permission in the directory        starts a case; the words are its name
 * mkdir d 0755                                           must succeed
 * alice mkdir d/e 0755 -> EACCES                         must answer this
 * ```
 *
 * - `#[devices,kernel] …` says what the file system must have.
 * - `# … <fifo|socket> …` is one case for each choice, which is `$` in the rows. With several lists
 *   there are all combinations; with several words in all, they are `$1`, `$2`, …
 * - `(n)*255` repeats; `#100:7[10..20]` is that part of the pseudo-random bytes `#100:7`, as an answer;
 *   `// …` is a remark.
 */
export function parseTable(text: string): Case[] {
  return text
    .split(/^#/m)
    .slice(1)
    .flatMap((block) => {
      const [heading = "", ...lines] = block.split("\n");
      const [, needs, name = ""] = /^(?:\[([\w,-]+)\])?\s*(.*)$/.exec(heading) ?? [];
      const lists = [...name.matchAll(/<([^>]+)>/g)].map(([, list = ""]) => list.split("|"));
      return combinations(lists).map((choice) => ({
        name: choice.reduce((sentence, word) => sentence.replace(/<[^>]+>/, word), name),
        needs: (needs?.split(",") ?? []) as Feature[],
        rows: lines
          .map((line) => line.replace(/\/\/.*$/, "").trim())
          .filter((line) => line !== "")
          .map((line) => parseRow(choose(line, choice.join(" ").split(" ")))),
      }));
    });
}

function combinations(lists: readonly (readonly string[])[]): string[][] {
  return lists.reduce<string[][]>(
    (all, list) => all.flatMap((before) => list.map((word) => [...before, word])),
    [[]],
  );
}

function choose(line: string, words: readonly string[]): string {
  return line.replaceAll(/\$(\d?)/g, (_, index: string) => words[Number(index || "1") - 1] ?? "");
}

function parseRow(line: string): Row {
  const [, command = "", answer] = /^(.*?)(?:\s+->\s+(.*))?$/.exec(line) ?? [];
  return { command: expand(command), answer: answer === undefined ? undefined : expand(answer) };
}

function expand(text: string): string {
  return text
    .replace(/^#(\d+):(\d+)\[(\d+)\.\.(\d+)\]$/, (_, ...numbers: string[]) => {
      const [length = 0, seed = 0, from, to] = numbers.slice(0, 4).map(Number);
      return showBytes(pseudoRandom(length, seed).subarray(from, to));
    })
    .replaceAll(/\(([^)]+)\)\*(\d+)/g, (_, part: string, count: string) =>
      part.repeat(Number(count)),
    )
    .replace(/^((?:in \d )?)(alice|bob|carol) /, (_, where: string, user: string) => {
      return `${where}${USERS[user] ?? ""} `;
    });
}
