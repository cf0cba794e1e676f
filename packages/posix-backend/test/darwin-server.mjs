// Serves directory argv[2] at the socket argv[3] as macOS would, until standard input ends: what is loaded as its C
// library is that of libsystem.c. It runs built packages, whose modules ask for the platform when they are loaded.
import "koffi";

Object.defineProperty(process, "platform", { value: "darwin" });
const { listenStream, Session } = await import("@supermachine/fuse-server");
const { PosixBackend } = await import("@supermachine/posix-backend");

const [host, path] = process.argv.slice(2);
const backend = new PosixBackend(host, { maxFds: 32 });
const server = await listenStream(path, () => new Session(backend));
process.stdout.write("listening\n");
process.stdin.resume().once("end", async () => {
  const isClean = backend.inodeCount === 1 && backend.handleCount === 0;
  await server[Symbol.asyncDispose]();
  backend.close();
  process.exit(isClean ? 0 : 3);
});
