import { type Attributes, type Span, SpanStatusCode, trace } from "@opentelemetry/api";

/*
 * Spans of OpenTelemetry, for whoever has set up an SDK in this process; without one they cost nothing.
 * No span carries a command's arguments, environment or output: those may hold secrets.
 */

const tracer = trace.getTracer("supermachine");

/** The work of which there are spans. */
export type SpanName =
  | "supermachine.start"
  | "supermachine.exec"
  | "supermachine.acquire"
  | "supermachine.bake"
  | "supermachine.snapshot"
  | "supermachine.restore"
  | "supermachine.revert";

/**
 * Does `work` within a span, which becomes the parent of those that start meanwhile. What `work` throws
 * marks the span as failed, with its `code` as `error.type`.
 *
 * @param attributes - What is known before; `work` gets the span to add what it learns.
 */
export function traced<T>(
  name: SpanName,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  return tracer.startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      span.recordException(reason);
      span.setStatus({ code: SpanStatusCode.ERROR, message: reason.message });
      const code = "code" in reason ? String(reason.code) : reason.name;
      span.setAttribute("error.type", code);
      throw error;
    } finally {
      span.end();
    }
  });
}

/** What a span of a command tells, by the semantic conventions for processes. */
export function commandAttributes(argv: readonly string[]): Attributes {
  return { "process.command": argv[0] ?? "", "process.args_count": argv.length };
}
