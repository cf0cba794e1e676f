import { context, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterAll, beforeEach, expect, test } from "vitest";
import { SupermachineError } from "./errors.js";
import { commandAttributes, traced } from "./tracing.js";

const exporter = new InMemorySpanExporter();
beforeEach(() => exporter.reset());
afterAll(() => {
  trace.disable();
  context.disable();
});

test("without an SDK the work is done, and that is all", async () => {
  expect(await traced("supermachine.exec", {}, async (span) => span.isRecording())).toBe(false);
});

test("spans have their attributes, their parents and their failures", async () => {
  // Set up after the module was loaded, as an application may.
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

  const failure = new SupermachineError("ERR_VM_STOPPED", "gone");
  const work = traced("supermachine.acquire", { "supermachine.image": "demo" }, async () => {
    await new Promise((resolve) => setImmediate(resolve));
    await traced("supermachine.exec", commandAttributes(["sh", "-c", "secret"]), async (span) => {
      span.setAttribute("process.exit.code", 3);
    });
    throw failure;
  });
  await expect(work).rejects.toBe(failure);

  const [exec, acquire] = exporter.getFinishedSpans();
  expect(exec).toMatchObject({
    name: "supermachine.exec",
    attributes: { "process.command": "sh", "process.args_count": 3, "process.exit.code": 3 },
    status: { code: SpanStatusCode.UNSET },
    parentSpanId: acquire?.spanContext().spanId,
  });
  expect(acquire).toMatchObject({
    name: "supermachine.acquire",
    attributes: { "supermachine.image": "demo", "error.type": "ERR_VM_STOPPED" },
    status: { code: SpanStatusCode.ERROR, message: "gone" },
  });
});
