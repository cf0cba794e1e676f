// @ts-check
// npm run demo: from a fresh clone to a command in a microVM.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { reportFailure, setup } from "./setup.mjs";

const GUEST_COMMANDS = `uname -a
cat /etc/os-release
echo "$(nproc) CPU, $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB, up $(cut -d' ' -f1 /proc/uptime) s"`;

try {
  await setup("demo");
  const args = ["supermachine", "run", "demo", "--", "sh", "-c", GUEST_COMMANDS];
  process.stdout.write(`\n$ npx supermachine run demo -- sh -c '${GUEST_COMMANDS}'\n`);
  const child = spawn("npx", args, {
    stdio: "inherit",
    cwd: fileURLToPath(new URL("..", import.meta.url)),
  });
  const status = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  process.exitCode = status ?? 1;
} catch (error) {
  reportFailure("demo", error);
  process.exitCode = 1;
}
