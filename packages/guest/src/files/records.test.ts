import { fileURLToPath } from "node:url";
import { encodeName } from "@supermachine-internal/file-name";
import { probeHeaders, requireFacility, runs, structLayout } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AgentError } from "../errors.js";
import { fileError } from "./file-error.js";
import { decodeFileEntries, decodeFileStat, fileRecord } from "./file-record.js";
import { LINUX_ERRNO } from "./linux-errno.js";
import { WATCH_KINDS, WatchRecordDecoder, watchRecord } from "./watch-record.js";

const agent = (name: string) => fileURLToPath(new URL(`../../agent/${name}`, import.meta.url));
const { test } = requireFacility("program:cc");

test("the records are those of the agent's headers", () => {
  const layouts = [...structLayout(fileRecord), ...structLayout(watchRecord)];
  const kinds = WATCH_KINDS.map((kind, i): [string, bigint] => [
    `WATCH_${kind.toUpperCase()}`,
    BigInt(i),
  ]);
  const expected = new Map([...layouts, ...kinds]);
  expect(
    probeHeaders({ headers: [agent("files.h"), agent("watch.h")], expressions: expected.keys() }),
  ).toEqual(expected);
});

test("errors have the numbers of Linux", () => {
  const expected = new Map(
    Object.entries(LINUX_ERRNO).map(([name, value]) => [name, BigInt(value)]),
  );
  expect(probeHeaders({ headers: ["errno.h"], expressions: expected.keys() })).toEqual(expected);
});

/** What a hostile guest may send: anything, or records with some bytes changed. */
const hostile = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .array(fc.tuple(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 20 })), {
      maxLength: 5,
    })
    .chain((records) =>
      fc.tuple(
        fc.constant(Buffer.concat(records.map(([name, link]) => fileBytes(name, link)))),
        fc.nat(),
        fc.nat(255),
      ),
    )
    .map(([bytes, at, value]) => {
      if (bytes.length > 0) bytes[at % bytes.length] = value;
      return bytes;
    }),
);

function fileBytes(name: Uint8Array, link: Uint8Array, mode = 0o120777): Buffer {
  const bytes = Buffer.alloc(fileRecord.size);
  fileRecord.encode(
    {
      size: 2n ** 52n,
      mtime_ns: -1_500_000n,
      mode,
      uid: 1,
      gid: 2,
      links: 3,
      name_length: name.length,
      target_length: link.length,
      reserved: 0,
    },
    bytes,
  );
  return Buffer.concat([bytes, name, link]);
}

function onlyAgentErrors(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    expect(error).toBeInstanceOf(AgentError);
    expect((error as AgentError).code).toBe("ERR_AGENT_PROTOCOL");
  }
}

describe("file records", () => {
  it("give back what the agent says", () => {
    expect(decodeFileEntries(fileBytes(encodeName("a\udcffb"), encodeName("x/y")))).toEqual([
      {
        name: "a\udcffb",
        type: "symlink",
        size: 2 ** 52,
        mode: 0o777,
        uid: 1,
        gid: 2,
        links: 3,
        mtimeMs: -1.5,
        target: "x/y",
      },
    ]);
    expect(decodeFileStat(fileBytes(encodeName(""), encodeName(""), 0o100644))).toMatchObject({
      type: "file",
      mode: 0o644,
      target: undefined,
    });
  });

  it("of any bytes are decoded or refused, and never name another directory", () => {
    fc.assert(
      fc.property(hostile, (raw) => {
        onlyAgentErrors(() => decodeFileStat(Buffer.from(raw)));
        onlyAgentErrors(() => {
          for (const { name } of decodeFileEntries(Buffer.from(raw)))
            expect(name).toMatch(/^(?!\.{0,2}$)[^/\0]+$/);
        });
      }),
      { numRuns: runs(2000) },
    );
  });

  it.each(["", ".", "..", "a/b", "/", "a\0"])("refuse %j as a name", (name) => {
    const bytes = fileBytes(encodeName(name), encodeName(""));
    expect(() => decodeFileEntries(bytes)).toThrow("cannot be a name");
  });
});

describe("watch records", () => {
  const record = (kind: number, path: string) => {
    const name = encodeName(path);
    const head = Buffer.alloc(watchRecord.size);
    watchRecord.encode({ kind, path_length: name.length }, head);
    return Buffer.concat([head, name]);
  };

  it("come out the same however the stream is cut", () => {
    const path = fc
      .array(fc.stringMatching(/^[a-zé\udc80]{1,8}$/), { maxLength: 4 })
      .map((parts) => parts.join("/"));
    const kind = fc.nat(WATCH_KINDS.length - 1);
    fc.assert(
      fc.property(fc.array(fc.tuple(kind, path)), fc.integer({ min: 1, max: 30 }), (all, size) => {
        const bytes = Buffer.concat(all.map(([number, text]) => record(number, text)));
        const decoder = new WatchRecordDecoder();
        const seen = [];
        for (let at = 0; at < bytes.length; at += size)
          seen.push(...decoder.push(bytes.subarray(at, at + size)));
        expect(seen).toEqual(
          all.map(([number, text]) => ({ kind: WATCH_KINDS[number], path: text })),
        );
      }),
      { numRuns: runs(500) },
    );
  });

  it("of any bytes are decoded or refused", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (chunks) => {
        const decoder = new WatchRecordDecoder();
        onlyAgentErrors(() => {
          for (const chunk of chunks) decoder.push(Buffer.from(chunk));
        });
      }),
      { numRuns: runs(2000) },
    );
  });

  it.each(["../up", "/etc", "a/../b", ".", "a/..", "a\0"])("refuse the path %j", (path) => {
    expect(() => new WatchRecordDecoder().push(record(1, path))).toThrow("no path below");
  });

  it("refuse a path longer than Linux has before taking it in", () => {
    const head = Buffer.alloc(watchRecord.size);
    watchRecord.encode({ kind: 1, path_length: 0xffff_ffff }, head);
    expect(() => new WatchRecordDecoder().push(head)).toThrow("no such kind");
  });
});

describe("what a builtin says of its failure", () => {
  it("becomes an error without control characters, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.uint8Array({ maxLength: 200 }), (text, raw) => {
        for (const bytes of [raw, Buffer.from(`13 ${text}`), Buffer.from(text)]) {
          const error = fileError(["read", "/x"], { code: 1, signal: null }, bytes);
          expect(error.message).not.toMatch(/\p{Cc}/u);
          expect(["ERR_EXEC_FILE", "ERR_EXEC_RESOURCES"]).toContain(error.code);
        }
      }),
      { numRuns: runs(1000) },
    );
  });
});
