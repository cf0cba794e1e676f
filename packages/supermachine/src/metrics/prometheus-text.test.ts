import fc from "fast-check";
import { expect, test } from "vitest";
import { type Labels, PrometheusText } from "./prometheus-text.js";

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads the format as its description says (prometheus.io/docs/instrumenting/exposition_formats). */
function parse(text: string): { types: Map<string, string>; samples: Sample[] } {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type?.[1] !== undefined) {
      expect(types.has(type[1]), "one TYPE line per metric").toBe(false);
      types.set(type[1], type[2] ?? "");
      continue;
    }
    if (line.startsWith("# HELP ")) continue;
    const [, name = "", , list = "", value = ""] =
      /^([a-z_]+)(\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$/.exec(line) ?? [];
    expect(name, line).not.toBe("");
    const labels: Record<string, string> = {};
    for (const [, label = "", raw = ""] of list.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[label] = raw.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    }
    samples.push({ name, labels, value: value === "+Inf" ? Infinity : Number(value) });
  }
  return { types, samples };
}

test("samples of a metric stand together below its help and type", () => {
  const text = new PrometheusText();
  text.counter("exits_total", "Exits\nof a vCPU.", { vcpu: 0, reason: 'a"b\\c' }, 3);
  text.gauge("memory_bytes", "Memory.", {}, 1.5e9);
  text.counter("exits_total", "Exits\nof a vCPU.", { vcpu: 1 }, 4);
  expect(String(text)).toBe(
    [
      "# HELP exits_total Exits\\nof a vCPU.",
      "# TYPE exits_total counter",
      'exits_total{vcpu="0",reason="a\\"b\\\\c"} 3',
      'exits_total{vcpu="1"} 4',
      "# HELP memory_bytes Memory.",
      "# TYPE memory_bytes gauge",
      "memory_bytes 1500000000",
      "",
    ].join("\n"),
  );
});

test("a histogram's buckets add up to its count", () => {
  const text = new PrometheusText();
  const buckets = [
    { upTo: 0.1, count: 2 },
    { upTo: Number.POSITIVE_INFINITY, count: 3 },
  ];
  text.histogram("latency_seconds", "Latency.", { vm: "a" }, buckets, 7.5);
  expect(String(text).split("\n").slice(1)).toEqual([
    "# TYPE latency_seconds histogram",
    'latency_seconds_bucket{vm="a",le="0.1"} 2',
    'latency_seconds_bucket{vm="a",le="+Inf"} 5',
    'latency_seconds_sum{vm="a"} 7.5',
    'latency_seconds_count{vm="a"} 5',
    "",
  ]);
});

test("nothing is no text", () => {
  expect(String(new PrometheusText())).toBe("");
});

test("any labels and values come back from the text", () => {
  const labels = fc.dictionary(
    fc.constantFrom("vm", "image", "reason"),
    fc.string({ unit: "binary" }),
  );
  const samples = fc.array(fc.tuple(labels, fc.double({ noNaN: true, min: -1e300 })), {
    maxLength: 5,
  });
  fc.assert(
    fc.property(samples, fc.string(), (expected, help) => {
      const text = new PrometheusText();
      for (const [names, value] of expected) text.gauge("some_bytes", help, names as Labels, value);
      const { types, samples: found } = parse(String(text));
      expect(types.size).toBe(expected.length === 0 ? 0 : 1);
      expect(found).toEqual(
        expected.map(([names, value]) => ({
          name: "some_bytes",
          labels: { ...names },
          value: value === 0 ? 0 : value,
        })),
      );
    }),
  );
});

test("a name that the format does not have is a mistake that shows", () => {
  expect(() => new PrometheusText().gauge("no-name", "", {}, 1)).toThrow(RangeError);
  expect(() => new PrometheusText().gauge("name", "", { "a b": 1 }, 1)).toThrow(RangeError);
});
