import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { QmpClient } from "./qmp.js";

let directory: string;
let monitor: Socket;
let client: QmpClient;

async function connect(): Promise<void> {
  const path = join(directory, "monitor.sock");
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  client = new QmpClient(createConnection(path));
  monitor = await accepted;
  monitor.on("error", () => {});
  server.close();
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "qmp-"));
  await connect();
});
afterEach(() => {
  monitor.destroy();
  rmSync(directory, { recursive: true });
});

const GREETING = '{"QMP": {"version": {}, "capabilities": []}}\r\n';

test("answers reach their commands in order, whatever comes between them and however they are cut", async () => {
  const answers = [client.execute("query-a"), client.execute("query-b")];
  const said = `${GREETING}{"return": {}}\r\n{"event": "STOP", "data": {}}\r\n{"return": "a"}\r\n{"return": "b"}\r\n`;
  for (const character of said) monitor.write(character);
  expect(await Promise.all(answers)).toEqual(["a", "b"]);
});

test("a command that fails says what QEMU says, and the next one works", async () => {
  const answers = [client.execute("nonsense"), client.execute("stop")];
  monitor.write(
    `${GREETING}{"return": {}}\n{"error": {"class": "CommandNotFound", "desc": "not found"}}\n{"return": {}}\n`,
  );
  await expect(answers[0]).rejects.toMatchObject({
    code: "ERR_QEMU_COMMAND",
    message: `QEMU's monitor refused "nonsense": not found`,
  });
  expect(await answers[1]).toEqual({});
});

test("a command fails when the monitor goes, and so do later ones", async () => {
  const answer = client.execute("stop");
  monitor.end(GREETING);
  await expect(answer).rejects.toMatchObject({ code: "ERR_QEMU_ENDED" });
  await expect(client.execute("cont")).rejects.toMatchObject({ code: "ERR_QEMU_ENDED" });
});

test.each([
  ["no JSON", "{nonsense}\n"],
  ["no object", "17\n"],
  ["neither an answer nor an event", '{"other": 1}\n'],
  ["a line without an end", "x".repeat(3 << 20)],
  ["an answer to nothing", '{"return": {}}\n'.repeat(3)],
])("a monitor that says %s is not listened to any more", async (_, said) => {
  const answer = client.execute("stop").catch((error) => error);
  monitor.write(said);
  await new Promise((resolve) => monitor.once("close", resolve).resume());
  await answer;
  await expect(client.execute("cont")).rejects.toMatchObject({ code: "ERR_QEMU_COMMAND" });
});

test("nothing that a monitor says keeps a command waiting after it has gone", async () => {
  const line = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constantFrom('{"return": 1}', '{"error": null}', '{"error": {}}', '{"event": 1}', GREETING),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
      const answer = client.execute("stop").catch(({ code }) => code);
      monitor.end(lines.map((text) => `${text}\n`).join(""));
      await answer;
      rmSync(join(directory, "monitor.sock"), { force: true });
      await connect();
    }),
    { numRuns: runs(50) },
  );
});
