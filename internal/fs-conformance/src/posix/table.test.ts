import { expect, test } from "vitest";
import { pseudoRandom, showBytes } from "../data.js";
import { parseTable } from "./table.js";

test("a case has a name, rows, and what it needs", () => {
  const text = `
# first sentence
mkdir d            // a remark
alice rmdir d -> EACCES
#[devices,kernel] second sentence
in 1 bob unlink (n)*3 -> (n)*2
`;
  expect(parseTable(text)).toEqual([
    {
      name: "first sentence",
      needs: [],
      rows: [
        { command: "mkdir d", answer: undefined },
        { command: "as 1001:1001 rmdir d", answer: "EACCES" },
      ],
    },
    {
      name: "second sentence",
      needs: ["devices", "kernel"],
      rows: [{ command: "in 1 as 1002:1002 unlink nnn", answer: "nn" }],
    },
  ]);
});

test("lists in a name make one case of each combination", () => {
  const cases = parseTable("# a <x|y> beside a <1|2>\nmake $1 $2\n");
  expect(cases.map(({ name, rows }) => [name, rows[0]?.command])).toEqual([
    ["a x beside a 1", "make x 1"],
    ["a x beside a 2", "make x 2"],
    ["a y beside a 1", "make y 1"],
    ["a y beside a 2", "make y 2"],
  ]);
});

test("a choice of several words is one word after the other in the rows", () => {
  const [first] = parseTable("# mode <0777 022|0666 077>\nmkdir d $1 -> $2\n");
  expect(first?.rows).toEqual([{ command: "mkdir d 0777", answer: "022" }]);
});

test("an answer can be a part of pseudo-random bytes", () => {
  const [first] = parseTable("# bytes\npread 0 5 5 -> #100:7[5..10]\n");
  expect(first?.rows[0]?.answer).toBe(showBytes(pseudoRandom(100, 7).subarray(5, 10)));
});
