import { constants } from "node:os";
import { addressOf } from "@supermachine-internal/libc";
import { type SystemCall, systemCallNumber } from "./system-call-numbers.js";
import { installSystemCallFilter } from "./system-calls.js";

/**
 * What happens at a system call that no server of files makes: the process is killed, the call is noted in the
 * audit log and goes through, the thread gets SIGSYS; or there is no filter at all.
 */
export type SeccompAction = "kill" | "log" | "trap" | "none";

/** What the server and the runtime below it call. */
const ALLOWED: readonly SystemCall[] = [
  // files
  ...([
    "read",
    "write",
    "pread64",
    "pwrite64",
    "readv",
    "writev",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "lseek",
    "fsync",
    "fdatasync",
    "ftruncate",
    "truncate",
    "fallocate",
    "fadvise64",
    "readahead",
    "sync_file_range",
    "copy_file_range",
    "sendfile",
    "splice",
    "getdents64",
    "fstatfs",
    "statfs",
    "syncfs",
    "flock",
    "fcntl",
    "ioctl",
    "dup",
    "dup2",
    "dup3",
    "pipe2",
    "umask",
    "chdir",
    "fchdir",
    "getcwd",
    "access",
    "faccessat",
    "faccessat2",
    "name_to_handle_at",
    "open_by_handle_at",
    "statmount",
    "listmount",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
  ] as const),
  // names
  ...([
    "mkdir",
    "mkdirat",
    "mknodat",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "readlink",
    "readlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "lchown",
    "fchown",
    "fchownat",
    "utimes",
    "utimensat",
    "futimesat",
  ] as const),
  // xattrs
  ...([
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "getxattrat",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "listxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
  ] as const),
  // credentials
  ...([
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getresuid",
    "getresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capget",
    "capset",
  ] as const),
  // sockets
  ...([
    "accept4",
    "recvmsg",
    "sendmsg",
    "recvfrom",
    "sendto",
    "shutdown",
    "getsockopt",
    "setsockopt",
    "getsockname",
    "getpeername",
  ] as const),
  // events
  ...([
    "eventfd2",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
  ] as const),
  // memory
  ...([
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "brk",
    "membarrier",
    "mincore",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
  ] as const),
  // threads
  ...([
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "gettid",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "getpriority",
    "exit",
    "exit_group",
    "tgkill",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "rt_sigpending",
    "rt_sigsuspend",
    "sigaltstack",
    "restart_syscall",
    "arch_prctl",
  ] as const),
  // time
  ...([
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "getcpu",
  ] as const),
  // system
  ...([
    "getpid",
    "getppid",
    "getpgrp",
    "getpgid",
    "getsid",
    "getrandom",
    "uname",
    "sysinfo",
    "prlimit64",
    "getrlimit",
  ] as const),
];

/**
 * What only an intruder calls. What is in neither list fails with ENOSYS, as in an older kernel: runtimes
 * try new calls and live without them.
 */
const FATAL: readonly SystemCall[] = [
  "execve",
  "execveat",
  "fork",
  "vfork",
  "ptrace",
  "process_vm_readv",
  "process_vm_writev",
  "kcmp",
  "pidfd_getfd",
  "mount",
  "umount2",
  "move_mount",
  "open_tree",
  "fsopen",
  "fsconfig",
  "fsmount",
  "fspick",
  "mount_setattr",
  "pivot_root",
  "chroot",
  "setns",
  "unshare",
  "socket",
  "socketpair",
  "connect",
  "bind",
  "listen",
  "io_uring_setup",
  "bpf",
  "perf_event_open",
  "userfaultfd",
  "kexec_load",
  "kexec_file_load",
  "init_module",
  "finit_module",
  "delete_module",
  "reboot",
  "swapon",
  "swapoff",
  "iopl",
  "ioperm",
  "modify_ldt",
  "add_key",
  "request_key",
  "keyctl",
  "acct",
  "quotactl",
  "settimeofday",
  "clock_settime",
  "adjtimex",
  "clock_adjtime",
  "sethostname",
  "setdomainname",
  "syslog",
  "vhangup",
  "personality",
  "setuid",
  "setgid",
  "setreuid",
  "setregid",
  "setresuid",
  "setresgid",
];

// <linux/bpf_common.h>; an instruction is struct sock_filter { u16 code; u8 jt; u8 jf; u32 k }
const LOAD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_AT_LEAST = 0x35;
const JUMP_IF_SET = 0x45;
const RETURN = 0x06;
const INSTRUCTION_BYTES = 8;

// struct seccomp_data of <linux/seccomp.h>
const DATA_NR = 0;
const DATA_ARCH = 4;
const DATA_ARGUMENT_0 = 16;

// <linux/seccomp.h>
const RET_KILL_PROCESS = 0x8000_0000;
const RET_TRAP = 0x0003_0000;
const RET_ERRNO = 0x0005_0000;
const RET_LOG = 0x7ffc_0000;
const RET_ALLOW = 0x7fff_0000;

// <linux/audit.h>
const AUDIT_ARCH = process.arch === "arm64" ? 0xc000_00b7 : 0xc000_003e;
/** Numbers from here on are those of the x32 ABI of x86-64. */
const X32_SYSCALL_BIT = 0x4000_0000;
const CLONE_THREAD = 0x0001_0000;
// <linux/prctl.h>: what C libraries and V8 name threads and memory with.
const PR_SET_NAME = 15;
const PR_SET_VMA = 0x5356_4d41;

const consequences = { kill: RET_KILL_PROCESS, trap: RET_TRAP, log: RET_LOG } as const;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, k: number];

/** The filter, as an array of `struct sock_filter`. */
export function systemCallFilter(action: Exclude<SeccompAction, "none">): Buffer {
  const consequence = consequences[action];
  const absent = action === "log" ? RET_LOG : RET_ERRNO | constants.errno.ENOSYS;
  const answer = (names: readonly SystemCall[], value: number): Instruction[] =>
    names
      .map(systemCallNumber)
      .filter((number) => number >= 0)
      .flatMap((number): Instruction[] => [
        [JUMP_IF_EQUAL, 0, 1, number],
        [RETURN, 0, 0, value],
      ]);
  return encode([
    [LOAD, 0, 0, DATA_ARCH],
    [JUMP_IF_EQUAL, 1, 0, AUDIT_ARCH],
    [RETURN, 0, 0, consequence],
    [LOAD, 0, 0, DATA_NR],
    [JUMP_IF_AT_LEAST, 0, 1, X32_SYSCALL_BIT],
    [RETURN, 0, 0, consequence],
    // Threads, no processes. clone3 keeps its flags where a filter cannot see them, so it is not there.
    [JUMP_IF_EQUAL, 0, 4, systemCallNumber("clone")],
    [LOAD, 0, 0, DATA_ARGUMENT_0],
    [JUMP_IF_SET, 0, 1, CLONE_THREAD],
    [RETURN, 0, 0, RET_ALLOW],
    [RETURN, 0, 0, consequence],
    [JUMP_IF_EQUAL, 0, 5, systemCallNumber("prctl")],
    [LOAD, 0, 0, DATA_ARGUMENT_0],
    [JUMP_IF_EQUAL, 1, 0, PR_SET_NAME],
    [JUMP_IF_EQUAL, 0, 1, PR_SET_VMA],
    [RETURN, 0, 0, RET_ALLOW],
    [RETURN, 0, 0, absent],
    // The kernel remembers which numbers are always allowed, so the length of this costs nothing.
    ...answer(ALLOWED, RET_ALLOW),
    ...answer(FATAL, consequence),
    [RETURN, 0, 0, absent],
  ]);
}

function encode(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(instructions.length * INSTRUCTION_BYTES);
  for (const [i, [code, ifTrue, ifFalse, k]] of instructions.entries()) {
    const at = bytes.writeUInt16LE(code, i * INSTRUCTION_BYTES);
    bytes.writeUInt8(ifTrue, at);
    bytes.writeUInt8(ifFalse, at + 1);
    bytes.writeUInt32LE(k, at + 2);
  }
  return bytes;
}

/** Filters the system calls of all threads of this process, for good. Needs no_new_privs, or CAP_SYS_ADMIN. */
export function filterSystemCalls(action: SeccompAction): void {
  if (action === "none") return;
  const instructions = systemCallFilter(action);
  installSystemCallFilter(instructions, addressOf(instructions));
}
