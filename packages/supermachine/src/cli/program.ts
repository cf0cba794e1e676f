import { Command, CommanderError, Option } from "commander";
import type { CommandFlags } from "./command.js";
import type { CopyFlags } from "./cp.js";
import { addMachineCommands } from "./machine-commands.js";
import type { MountFlags } from "./mount.js";
import { type PreparedRun, prepareRun } from "./prepare.js";
import type { RunFlags } from "./run.js";
import { addSnapshotCommands } from "./snapshot-commands.js";
import { STATUS_FAILURE, STATUS_USAGE } from "./status.js";
import { wholeNumber } from "./whole-number.js";

/** A pipe that nobody reads any more ends a listing quietly, as it does other programs. */
function toleratesClosedPipe(stream: NodeJS.WriteStream): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

const append = (value: string, previous: string[]) => [...previous, value];

/** Commander ends its own options at the first argument, and so hands the separator on. */
const withoutSeparator = (command: string[]) => (command[0] === "--" ? command.slice(1) : command);

function createProgram(early: PreparedRun | undefined): Command {
  const program = new Command("supermachine")
    .description("Run any OCI image as a hardware-isolated microVM.")
    .showHelpAfterError("(--help shows the usage)")
    .enablePositionalOptions()
    .exitOverride();

  program
    .command("run")
    .description("start a microVM around an image, run a command in it, and exit with its status")
    .usage(
      "[options] IMAGE [--] [COMMAND [ARGUMENT...]] | --snapshot NAME [--] [COMMAND [ARGUMENT...]]",
    )
    .argument("[image]", "name of an image in the store")
    .argument("[command...]", "command and arguments; default: the image's")
    .passThroughOptions()
    .option("-m, --memory <MiB>", "guest memory", wholeNumber(16), 256)
    .option("-c, --cpus <n>", "virtual CPUs", wholeNumber(1, 16), 1)
    .option(
      "-v, --mount <host:guest[:options]>",
      "share a host directory; options: ro, cache=none|auto|metadata|always, dax (repeatable)",
      append,
      [],
    )
    .option("-e, --env <NAME[=value]>", "environment variable (repeatable)", append, [])
    .option("-w, --workdir <directory>", "working directory in the guest")
    .option("-u, --user <user[:group]>", "user in the guest, by name or number")
    .addOption(
      new Option("--hypervisor <name>", "what runs the guest")
        .choices(["auto", "kvm", "qemu"])
        .default("auto"),
    )
    .option("--timeout <ms>", "end the command after this time (status 124)", wholeNumber(1))
    .option("-i, --interactive", "connect standard input", false)
    .option("-t, --tty", "run the command on a terminal", false)
    .option("-d, --detach", "leave it running, and print its name", false)
    .option("--name <name>", "by which the other commands find it")
    .option("--snapshot <name>", "go on from a snapshot; the command follows in place of the image")
    .option("--rm", "accepted for compatibility: a machine never outlives its command", true)
    .option("--console", "show the guest's console on standard error", false)
    .action(async (image: string | undefined, command: string[], flags: RunFlags) => {
      if (flags.snapshot !== undefined) {
        const argv = image === undefined ? [] : withoutSeparator([image, ...command]);
        const { runSnapshot } = await import("./run-snapshot.js");
        process.exitCode = await runSnapshot(flags.snapshot, argv, flags);
        return;
      }
      if (image === undefined) return program.error("error: missing required argument 'image'");
      const prepared = await prepareRun(flags, early);
      try {
        const { run, runDetached } = await import("./run.js");
        const start = flags.detach ? runDetached : run;
        process.exitCode = await start(image, withoutSeparator(command), flags, prepared);
      } finally {
        prepared.starter[Symbol.dispose]();
      }
    });

  program
    .command("exec")
    .description("run a command in a machine that runs, and exit with its status")
    .usage("[options] MACHINE [--] COMMAND [ARGUMENT...]")
    .argument("<machine>", "name or id of the machine, or the first digits of its id")
    .argument("<command...>", "command and arguments")
    .passThroughOptions()
    .option("-e, --env <NAME[=value]>", "environment variable (repeatable)", append, [])
    .option("-w, --workdir <directory>", "working directory in the guest")
    .option("-u, --user <user[:group]>", "user in the guest, by name or number")
    .option("--timeout <ms>", "end the command after this time (status 124)", wholeNumber(1))
    .option("-i, --interactive", "connect standard input", false)
    .option("-t, --tty", "run the command on a terminal", false)
    .action(async (machine: string, command: string[], flags: CommandFlags) => {
      const { exec } = await import("./exec.js");
      process.exitCode = await exec(machine, withoutSeparator(command), flags);
    });

  program
    .command("cp")
    .description("copy files between a machine that runs and this one")
    .usage("[options] MACHINE:SOURCE DESTINATION | SOURCE MACHINE:DESTINATION")
    .argument("<source>", "a file or directory, DIRECTORY/. for its content; - is a tar archive")
    .argument("<destination>", "a directory to copy into, or a new name; - is a tar archive")
    .option("-a, --archive", "keep owners, by number, and set-id bits", false)
    .option("-L, --follow-link", "copy what the source names, if it is a symbolic link", false)
    .action(async (source: string, destination: string, flags: CopyFlags) => {
      const { copy } = await import("./cp.js");
      await copy(source, destination, flags);
    });

  addMachineCommands(program);
  addSnapshotCommands(program);

  const image = program.command("image").description("manage the local image store");
  image
    .command("import")
    .description("add an OCI image layout (directory or tar) or a docker-archive to the store")
    .argument("<path>", "the layout or archive; PATH:TAG chooses one of several images")
    .option("-n, --name <name>", "name in the store; default: the image's own, else the file's")
    .option(
      "-p, --platform <os/arch>",
      "which image of a multi-platform one; default: this machine's",
    )
    .action(async (path: string, flags: { name?: string; platform?: string }) => {
      const { importImage } = await import("./image.js");
      await importImage(path, flags);
    });
  image
    .command("ls")
    .description("list the images in the store")
    .action(async () => {
      const { listImages } = await import("./image.js");
      await listImages();
    });
  image
    .command("rm")
    .description("remove images from the store")
    .argument("<name...>")
    .action(async (names: string[]) => {
      const { removeImages } = await import("./image.js");
      await removeImages(names);
    });

  program
    .command("mount")
    .description("show a directory at another place, until it is unmounted there or interrupted")
    .argument("<directory>", "what to show")
    .argument("<mount-point>", "where: an existing directory")
    .option("-r, --read-only", "refuse every change", false)
    .addOption(
      new Option("--cache <policy>", "how long to trust what was seen, if the directory changes")
        .choices(["none", "auto", "metadata", "always"])
        .default("auto"),
    )
    .option(
      "--watch",
      "see changes of the directory at once, however long seen things are trusted",
      false,
    )
    .addOption(
      new Option("--symlinks <policy>", "what may be done with symbolic links")
        .choices(["deny", "opaque", "follow"])
        .default("opaque"),
    )
    .option("--writeback", "collect writes: faster, wrong if the files change elsewhere", false)
    .option("--allow-other", "let other users in, each with its own permissions; default: for root")
    .option("--no-allow-other", "let nobody else in")
    .option("--no-xattr", "show no extended attributes")
    .option("--posix-acl", "keep and apply access control lists", false)
    .option("-t, --threads <n>", "how many threads serve it", wholeNumber(1, 30), 1)
    .option("--no-passthrough", "do not let the kernel read and write the files by itself")
    .option("--io-uring", "take requests through io_uring where the kernel offers it", false)
    .action(async (directory: string, mountPoint: string, flags: MountFlags) => {
      const { mountDirectory } = await import("./mount.js");
      await mountDirectory(directory, mountPoint, flags);
      process.exitCode = 0;
    });

  program
    .command("fsd")
    .description("share a directory with any virtual machine, in place of virtiofsd (fsd --help)")
    .usage("--shared-dir DIRECTORY --socket-path PATH [options]")
    .helpOption(false)
    .argument("[options...]")
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (options: string[]) => {
      const { fsd } = await import("./fsd.js");
      process.exitCode = await fsd(options);
    });

  program
    .command("doctor")
    .description("tell what can run guests here, measured, and what --hypervisor auto picks")
    .action(async () => {
      const { doctor } = await import("./doctor.js");
      process.exitCode = await doctor();
    });
  return program;
}

/** Runs the command line and sets the exit status. `early` is a machine that may fit `run`. */
export async function main(argv: readonly string[], early: PreparedRun | undefined): Promise<void> {
  toleratesClosedPipe(process.stdout);
  try {
    await createProgram(early).parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : STATUS_USAGE;
    } else {
      const message = error instanceof Error ? error.message : String(error);
      process.stderr.write(`supermachine: ${message}\n`);
      process.exitCode = STATUS_FAILURE;
    }
  } finally {
    early?.starter[Symbol.dispose]();
  }
}
