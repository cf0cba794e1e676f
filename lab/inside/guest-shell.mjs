// guest-shell.mjs OPTIONS: start a machine with OPTIONS (of Vm.start, as JSON) and run a shell in it.
import { Vm } from "supermachine";

const vm = await Vm.start(JSON.parse(process.argv[2] ?? "{}"));
try {
  const shell = vm.spawn(["sh"], { stdin: true });
  process.stdin.pipe(shell.stdin);
  shell.stdout.pipe(process.stdout);
  shell.stderr.pipe(process.stderr);
  await shell.exited;
} finally {
  await vm.stop();
}
