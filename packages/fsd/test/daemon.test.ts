import { fork } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { requireFacility, TemporaryDirectory, until } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { COMMAND, Command, DAEMON_PROCESS } from "./command.js";
import { Fixture } from "./fixture.js";
import { ALL_OK, guestKernel, machineFacilities } from "./guest.js";

const built = `file:${COMMAND}` as const;
const machine = requireFacility("linux", "root", built, ...machineFacilities, guestKernel);
const command = requireFacility("linux", "root", built);

function sharing({ sharedDir, socketPath }: Fixture | { sharedDir: string; socketPath: string }) {
  return ["--shared-dir", sharedDir, "--socket-path", socketPath];
}

/** A field of /proc/PID/status, for each thread of the process. */
function statusOf(pid: number, field: string): string[] {
  return readdirSync(`/proc/${pid}/task`).map((id) => {
    const status = readFileSync(`/proc/${pid}/task/${id}/status`, "latin1");
    return new RegExp(`^${field}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? "";
  });
}

const only = (value: string) => expect.arrayContaining([value]);

for (const sandbox of ["namespace", "chroot", "none"]) {
  const keep = sandbox === "none";
  machine.test(
    `a guest is served from the sandbox "${sandbox}", and the daemon ${keep ? "goes on" : "ends"} after it`,
    async () => {
      using fixture = new Fixture();
      const chroot = sandbox === "chroot";
      const options = [...(chroot ? [] : ["--xattr"]), ...(keep ? ["--keep-running"] : [])];
      await using daemon = new Command([
        ...sharing(fixture),
        ...options,
        ...["--sandbox", sandbox],
      ]);
      await daemon.serving();
      await using guest = fixture.boot();
      const noXattrs = /^failed attributes: setxattr.*Not supported/;
      expect(await guest.report()).toEqual(
        ALL_OK.map((line) =>
          chroot && line === "ok attributes" ? expect.stringMatching(noXattrs) : line,
        ),
      );
      if (keep) {
        const left = () => daemon.errors.includes("the machine has disconnected");
        await until(left, "the machine to be gone");
        daemon.child.kill("SIGTERM");
      }
      expect(await daemon.ended).toBe(0);
      expect(existsSync(fixture.socketPath)).toBe(false);
      expect(daemon.errors).not.toMatch(/WARN|ERROR/);
    },
    60_000,
  );
}

command.test(
  "all threads of the daemon see nothing but the directory, and can do little",
  async () => {
    using directory = new TemporaryDirectory();
    const socketPath = join(directory.path, "fs.sock");
    await using daemon = new Command(sharing({ sharedDir: directory.path, socketPath }));
    await daemon.serving();
    const { daemonPid: pid } = daemon;
    expect(readdirSync(`/proc/${pid}/root/`)).toEqual(["proc", "share"]);
    expect(readdirSync(`/proc/${pid}/root/proc`)).toEqual(["self"]);
    expect(readdirSync(`/proc/${pid}/root/share`)).toEqual(["fs.sock"]);
    const mountPoints = readFileSync(`/proc/${pid}/mountinfo`, "latin1").trim().split("\n");
    expect(mountPoints.map((line) => line.split(" ")[4])).toEqual(["/", "/share", "/proc/self"]);
    for (const id of readdirSync(`/proc/${pid}/task`)) {
      const task = `/proc/${pid}/task/${id}`;
      expect([readlinkSync(`${task}/root`), readlinkSync(`${task}/cwd`)]).toEqual(["/", "/"]);
    }
    for (const namespace of ["mnt", "pid", "net", "ipc", "uts"]) {
      const own = readlinkSync(`/proc/self/ns/${namespace}`);
      expect(readlinkSync(`/proc/${pid}/ns/${namespace}`), namespace).not.toBe(own);
    }
    // chown, dac_override, dac_read_search, fowner, fsetid, setgid, setuid, mknod, setfcap
    expect(new Set(statusOf(pid, "CapPrm"))).toEqual(new Set(["00000000880000df"]));
    expect(new Set(statusOf(pid, "CapBnd"))).toEqual(new Set(["00000000880000df"]));
    expect(new Set(statusOf(pid, "NoNewPrivs"))).toEqual(new Set(["1"]));
    expect(new Set(statusOf(pid, "Seccomp"))).toEqual(new Set(["2"]));
    // What the caller has open is not inherited, but for its standard streams.
    const files = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    const paths = files.filter((path) => path.startsWith("/") && !/null$/.test(path));
    expect(paths).toEqual(only("/share"));
    expect(paths.filter((path) => !["/share", "/proc/self/fd"].includes(path))).toEqual([]);
    // Nothing of this is the command's own.
    expect(readlinkSync(`/proc/${daemon.child.pid}/ns/mnt`)).toBe(
      readlinkSync("/proc/self/ns/mnt"),
    );
    daemon.child.kill("SIGTERM");
    expect(await daemon.ended).toBe(0);
  },
);

command.test("the daemon's table of files is large before it serves", async () => {
  using directory = new TemporaryDirectory();
  const socketPath = join(directory.path, "fs.sock");
  await using daemon = new Command(sharing({ sharedDir: directory.path, socketPath }));
  await daemon.serving();
  const limits = readFileSync(`/proc/${daemon.daemonPid}/limits`, "latin1");
  const most = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
  const [size] = statusOf(daemon.daemonPid, "FDSize");
  expect(Number(size)).toBeGreaterThanOrEqual(Math.min(most, 65_536));
});

command.test("as many threads wait for disks as are asked for", async () => {
  const threads: number[] = [];
  for (const size of ["0", "6"]) {
    using directory = new TemporaryDirectory();
    const socketPath = join(directory.path, "fs.sock");
    const share = sharing({ sharedDir: directory.path, socketPath });
    await using daemon = new Command([...share, "--thread-pool-size", size]);
    await daemon.serving();
    threads.push(readdirSync(`/proc/${daemon.daemonPid}/task`).length);
  }
  const [fewest = 0, most] = threads;
  expect(most).toBe(fewest + 5);
});

command.test("capabilities can be added and given up", async () => {
  using directory = new TemporaryDirectory();
  const socketPath = join(directory.path, "fs.sock");
  const options = ["--modcaps=+sys_admin:-mknod", "--seccomp", "none", "--rlimit-nofile", "500"];
  await using daemon = new Command([
    ...sharing({ sharedDir: directory.path, socketPath }),
    ...options,
  ]);
  await daemon.serving();
  expect(statusOf(daemon.daemonPid, "CapPrm")[0]).toBe("00000000802000df");
  expect(statusOf(daemon.daemonPid, "Seccomp")[0]).toBe("0");
  const limits = readFileSync(`/proc/${daemon.daemonPid}/limits`, "latin1");
  expect(limits).toMatch(/^Max open files +500 /m);
});

command.test("the daemon ends with the command, and its socket is taken over", async () => {
  using directory = new TemporaryDirectory();
  const socketPath = join(directory.path, "fs.sock");
  const options = sharing({ sharedDir: directory.path, socketPath });
  await using killed = new Command(options);
  await killed.serving();
  const pid = killed.daemonPid;
  await using second = new Command(options);
  expect(await second.ended).toBe(1);
  expect(second.errors).toContain(`another process serves ${socketPath}`);
  // That the second looked who serves there is no machine that came and went.
  expect(killed.errors).not.toContain("disconnected");
  killed.child.kill("SIGKILL");
  await until(() => !existsSync(`/proc/${pid}`), "the daemon to end");
  expect(existsSync(socketPath)).toBe(true);
  await using third = new Command(options);
  await third.serving();
});

requireFacility("linux", "root", built, "program:setpriv").test(
  "a system call that no server of files makes ends the daemon",
  async () => {
    using directory = new TemporaryDirectory();
    const server = createServer().listen(join(directory.path, "fs.sock"));
    await new Promise((resolve) => server.once("listening", resolve));
    // Makes the daemon's own process open a socket, as an intruder would.
    const intruder =
      'process.on("SIGUSR2", () => net.connect("/x").on("error", () => process.exit(0)))';
    const preload = `data:text/javascript,import net from "node:net";${encodeURIComponent(intruder)}`;
    const child = fork(DAEMON_PROCESS, {
      execPath: "setpriv",
      execArgv: ["--no-new-privs", "--", process.execPath, "--import", preload],
      stdio: [
        "ignore",
        "ignore",
        "ignore",
        "ipc",
        (server as unknown as { _handle: { fd: number } })._handle.fd,
      ],
    });
    const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
    child.on("message", (message: { type: string }) => {
      if (message.type === "prepared") child.send({ type: "serve", sharedDir: directory.path });
      if (message.type === "serving") child.kill("SIGUSR2");
    });
    const plan = {
      serve: { sharedDir: directory.path },
      sandbox: "none",
      seccomp: "kill",
      capabilities: [0, 1],
      exitOnDisconnect: false,
      trace: false,
    };
    child.send({ type: "prepare", plan });
    expect(await ended).toBe("SIGSYS");
    server.close();
  },
);

command.test("what cannot be is an error with a reason, and leaves nothing behind", async () => {
  using directory = new TemporaryDirectory();
  const file = join(directory.path, "file");
  writeFileSync(file, "");
  const socketPath = join(directory.path, "fs.sock");
  const cases: [args: string[], status: number, reason: RegExp][] = [
    [sharing({ sharedDir: join(directory.path, "no"), socketPath }), 1, /cannot share .*ENOENT/],
    [sharing({ sharedDir: file, socketPath }), 1, /is no directory/],
    [sharing({ sharedDir: directory.path, socketPath: file }), 1, /is no socket/],
    [["--shared-dir", directory.path], 1, /--socket-path or --fd/],
    [["--socket-path", socketPath], 1, /--shared-dir is missing/],
    [["--shared-dri", directory.path], 2, /unknown option/],
    [["-o", "sauce=/srv"], 1, /no such option/],
    [
      [...sharing({ sharedDir: directory.path, socketPath }), "--modcaps=+fly"],
      1,
      /capability fly/,
    ],
    [
      [...sharing({ sharedDir: directory.path, socketPath }), "--sandbox=chroot", "--xattr"],
      1,
      /no extended/,
    ],
    [[...sharing({ sharedDir: directory.path, socketPath }), "--tag="], 1, /tag/],
    [
      [...sharing({ sharedDir: directory.path, socketPath }), "--security-label"],
      2,
      /unknown option/,
    ],
  ];
  for (const [args, status, reason] of cases) {
    await using daemon = new Command(args);
    expect([args, await daemon.ended]).toEqual([args, status]);
    expect(daemon.errors).toMatch(reason);
    expect(existsSync(socketPath)).toBe(false);
  }
});

test("the command tells libvirt what it is", async () => {
  await using daemon = new Command(["--print-capabilities"]);
  expect(await daemon.ended).toBe(0);
  expect(JSON.parse(daemon.output)).toEqual({ type: "fs" });
});
