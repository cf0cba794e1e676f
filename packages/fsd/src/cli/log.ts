import { lazyFunction } from "@supermachine-internal/libc";
import type { LogLevel } from "../daemon/messages.js";

const ranks: Readonly<Record<LogLevel | "off", number>> = {
  off: -1,
  error: 0,
  warn: 1,
  info: 2,
  debug: 3,
  trace: 4,
};

/** Priorities of syslog(3). */
const priorities: Readonly<Record<LogLevel, number>> = {
  error: 3,
  warn: 4,
  info: 6,
  debug: 7,
  trace: 7,
};
const LOG_DAEMON = 3 << 3;

const syslog = lazyFunction<(priority: number, format: string, name: string, text: string) => void>(
  "void syslog(int priority, const char *format, const char *name, const char *text)",
);

export type Log = (level: LogLevel, message: string) => void;

/** Where the command reports: standard error, or syslog. What is less severe than `most` is left out. */
export function createLog(name: string, most: LogLevel | "off", toSyslog: boolean): Log {
  return (level, message) => {
    if (ranks[level] > ranks[most]) return;
    if (toSyslog) syslog(priorities[level] | LOG_DAEMON, "%s: %s", name, message);
    else
      process.stderr.write(
        `[${new Date().toISOString()} ${level.toUpperCase()} ${name}] ${message}\n`,
      );
  };
}
