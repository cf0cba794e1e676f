import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { FsdError } from "../error.js";
import { requireLinux } from "../platform.js";
import type { FsdFlags } from "./flags.js";
import { withoutOldOptions } from "./old-options.js";
import { runDaemon } from "./run-daemon.js";
import { runRoots } from "./run-roots.js";

const STATUS_FAILURE = 1;
const STATUS_USAGE = 2;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("Give a whole number.");
  }
  return value;
}

function positiveNumber(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError("Give a number above 0.");
  return value;
}

const append = (value: string, previous: readonly string[]) => [...previous, value];

function choice(flags: string, description: string, choices: readonly string[], byDefault: string) {
  return new Option(flags, description).choices(choices).default(byDefault);
}

function createCommand(name: string): Command {
  return new Command(name)
    .description(
      "Share a directory with a virtual machine over vhost-user, in place of virtiofsd; " +
        "or, with --root, several with many programs over a Unix socket.",
    )
    .showHelpAfterError("(--help shows the options)")
    .exitOverride()
    .option("--shared-dir <directory>", "what to share")
    .option(
      "--root <name=directory>",
      "share this with clients that name it (repeatable)",
      append,
      [],
    )
    .option(
      "--readonly-root <name=directory>",
      "the same, to be read only (repeatable)",
      append,
      [],
    )
    .option("--socket-path <path>", "where to listen")
    .option("--fd <fd>", "listen on this inherited descriptor instead", wholeNumber)
    .option("--socket-group <group>", "let members of this group connect, too")
    .option("--tag <tag>", "the name in the guest, for front-ends that ask (QEMU has its own)")
    .addOption(
      choice(
        "--cache <policy>",
        "what the guest may cache",
        ["auto", "always", "metadata", "never", "none"],
        "auto",
      ),
    )
    .option("--timeout <seconds>", "how long names and attributes may be cached", Number)
    .option("--readonly", "refuse every change", false)
    .option("--writeback", "let the guest collect writes", false)
    .option("--xattr", "extended attributes: user.*, or what --xattrmap says", false)
    .option("--xattrmap <rules>", "translate names of extended attributes (implies --xattr)")
    .option(
      "--privileged-xattrs",
      "the guest's root may set security.* and trusted.* of host files",
      false,
    )
    .option("--posix-acl", "POSIX access control lists (implies --xattr)", false)
    .option("--translate-uid <rule>", "translate user ids (repeatable)", append, [])
    .option("--translate-gid <rule>", "translate group ids (repeatable)", append, [])
    .option("--announce-submounts", "show mount points below the directory as such", false)
    .option("--no-announce-submounts", "the default")
    .addOption(
      choice(
        "--inode-file-handles <policy>",
        "keep inodes as handles",
        ["never", "prefer", "mandatory"],
        "prefer",
      ),
    )
    .option("--no-readdirplus", "the guest asks for attributes one by one")
    .option("--locks", "take POSIX and flock locks on the host's files, too", false)
    .option("--killpriv-v2", "clear set-id bits on the host (the default)", true)
    .option("--no-killpriv-v2", "let the guest clear them")
    .option("--allow-direct-io", "accepted; the host's page cache is always used", false)
    .option("--preserve-noatime", "accepted; O_NOATIME stays in the guest", false)
    .option("--thread-pool-size <n>", "threads that wait for disks", wholeNumber, 4)
    .addOption(
      choice("--sandbox <mode>", "isolation", ["namespace", "chroot", "none"], "namespace"),
    )
    .addOption(
      choice(
        "--seccomp <action>",
        "at a system call no server of files makes",
        ["kill", "log", "trap", "none"],
        "kill",
      ),
    )
    .option("--modcaps <list>", "capabilities to keep or drop: +sys_admin:-mknod")
    .option("--rlimit-nofile <n>", "limit of open files; 0 leaves it", wholeNumber)
    .addOption(
      choice(
        "--log-level <level>",
        "what to report",
        ["off", "error", "warn", "info", "debug", "trace"],
        "info",
      ),
    )
    .option("--syslog", "report to syslog instead of standard error", false)
    .option(
      "--poll <microseconds>",
      "how long to look for requests before sleeping",
      wholeNumber,
      0,
    )
    .option("--keep-running", "serve the next machine when one has disconnected", false)
    .option("--max-clients <n>", "with --root: clients at once", positiveNumber)
    .option("--max-open-files <n>", "files and directories a client may have open", positiveNumber)
    .option("--max-inodes <n>", "inodes it may hold", positiveNumber)
    .option("--max-pending <n>", "requests it may have in flight", positiveNumber)
    .option("--max-pending-bytes <n>", "bytes of those and of their replies", positiveNumber)
    .option("--max-unsent-bytes <n>", "bytes of replies it has not read", positiveNumber)
    .option("--stall <seconds>", "how long it may leave replies unread", positiveNumber)
    .option("--print-capabilities", "print what management tools ask for, and end", false);
}

/** Options that only mean something to a daemon of one machine, and to one of many clients. */
const MACHINE_OPTIONS = [
  ...["sharedDir", "fd", "tag", "sandbox", "seccomp", "modcaps", "poll", "keepRunning"],
  ...["readdirplus", "threadPoolSize"],
];
const ROOTS_OPTIONS = [
  ...["maxClients", "maxOpenFiles", "maxInodes", "maxPending", "maxPendingBytes"],
  ...["maxUnsentBytes", "stall"],
];

function refuseOptionsOf(names: readonly string[], command: Command, hasRoots: boolean): void {
  const given = names.find((option) => command.getOptionValueSource(option) === "cli");
  if (given === undefined) return;
  const flag = command.options.find((option) => option.attributeName() === given)?.long ?? given;
  throw new FsdError(
    "ERR_FSD_OPTION",
    `${flag} is not for use ${hasRoots ? "with" : "without"} --root`,
  );
}

/**
 * The command line: takes the options of virtiofsd, today's and those of its older version in C. Resolves
 * with the exit status once the daemon has ended.
 */
export async function main(args: readonly string[], name = "supermachine-fsd"): Promise<number> {
  try {
    const command = createCommand(name);
    command.parse(withoutOldOptions(args), { from: "user" });
    const flags = command.opts<FsdFlags>();
    if (flags.printCapabilities) {
      // docs/interop/vhost-user.json of QEMU
      process.stdout.write(`${JSON.stringify({ type: "fs" }, undefined, 2)}\n`);
      return 0;
    }
    requireLinux();
    const hasRoots = flags.root.length + flags.readonlyRoot.length > 0;
    refuseOptionsOf(hasRoots ? MACHINE_OPTIONS : ROOTS_OPTIONS, command, hasRoots);
    return await (hasRoots ? runRoots(flags, name) : runDaemon(flags, name));
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : STATUS_USAGE;
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    return STATUS_FAILURE;
  }
}
