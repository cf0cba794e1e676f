// guest-shell.mjs OPTIONS: start a machine with OPTIONS (of Vm.start, as JSON) and run a shell in it.
import { Vm } from "supermachine";

const vm = await Vm.start(JSON.parse(process.argv[2] ?? "{}"));
try {
  const shell = vm.spawn(["sh"], { stdin: true });
  const { stdin, stdout, stderr } = shell.streams;
  process.stdin.pipe(stdin);
  stdout.pipe(process.stdout);
  stderr.pipe(process.stderr);
  await shell.exited;
} finally {
  await vm.stop();
}
