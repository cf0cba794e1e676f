// @ts-check
// One client of clients.mjs: works in a directory of its own and checks all it reads, until it is told to end, or
// is killed. A file whose name ends in "-done" has the content whose hash is the rest of its name.
import { createHash, randomBytes, randomInt } from "node:crypto";
import { connectStream } from "@supermachine/fuse-server";

const [, , socketPath = "", root = "", name = ""] = process.argv;
const ROOT = 1;
const O_RDWR = 2;
let operations = 0;
let stopping = false;
process.on("message", () => {
  stopping = true;
});

/** @param {string} text */
function mistake(text) {
  process.send?.({ mistake: `${name}: ${text}` });
}

const client = await connectStream(socketPath, { root });
const home = await client.mkdir(ROOT, name);
for (let round = 0; !stopping; round++) {
  const data = randomBytes(randomInt(1, 100_000));
  const hash = createHash("sha256").update(data).digest("hex");
  const { entry, opened } = await client.create(home.nodeid, hash, 0o600, O_RDWR);
  const written = await client.write(entry.nodeid, opened.fh, 0, data);
  if (written !== data.length) mistake(`${written} of ${data.length} bytes written`);
  const read = await client.read(entry.nodeid, opened.fh, 0, data.length + 10);
  if (!data.equals(read)) mistake(`${read.length} other bytes read than written`);
  await client.rename(home.nodeid, hash, home.nodeid, `${hash}-done`);
  await client.release(entry.nodeid, opened.fh);
  const again = await client.lookup(home.nodeid, `${hash}-done`);
  if (again.nodeid !== entry.nodeid) mistake("another node after a rename");
  if (round % 8 !== 0) {
    await client.unlink(home.nodeid, `${hash}-done`);
    await client.forget(entry.nodeid, 2);
  }
  operations += 7;
}
process.send?.({ operations });
client.close();
process.disconnect?.();
