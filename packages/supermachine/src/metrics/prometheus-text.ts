/*
 * The text format 0.0.4 of Prometheus, which every collector reads: per metric a HELP and a TYPE line,
 * then its samples.
 */

/** Names and values that tell the samples of a metric apart. */
export type Labels = Readonly<Record<string, string | number>>;

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", '"': '\\"' };
const escapeLabel = (text: string) => text.replace(/[\\\n"]/g, (match) => escapes[match] ?? match);
const escapeHelp = (text: string) => text.replace(/[\\\n]/g, (match) => escapes[match] ?? match);

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return String(value);
}

/** Collects samples and writes them metric by metric, in the order in which the metrics came up. */
export class PrometheusText {
  readonly #metrics = new Map<string, { readonly head: string; readonly samples: string[] }>();

  counter(name: string, help: string, labels: Labels, value: number): void {
    this.#add(name, "counter", help, [sample(name, labels, value)]);
  }

  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.#add(name, "gauge", help, [sample(name, labels, value)]);
  }

  /** `buckets` ascend, the last up to infinity; their counts are each bucket's own. */
  histogram(
    name: string,
    help: string,
    labels: Labels,
    buckets: readonly { readonly upTo: number; readonly count: number }[],
    sum: number,
  ): void {
    let below = 0;
    const lines = buckets.map(({ upTo, count }) => {
      below += count;
      return sample(`${name}_bucket`, { ...labels, le: formatValue(upTo) }, below);
    });
    lines.push(sample(`${name}_sum`, labels, sum), sample(`${name}_count`, labels, below));
    this.#add(name, "histogram", help, lines);
  }

  toString(): string {
    const metrics = [...this.#metrics.values()];
    return metrics.map(({ head, samples }) => head + samples.join("")).join("");
  }

  #add(name: string, type: string, help: string, lines: readonly string[]): void {
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      const head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
      metric = { head, samples: [] };
      this.#metrics.set(name, metric);
    }
    metric.samples.push(...lines);
  }
}

/** @throws RangeError for a name that the format does not have: a mistake of ours. */
function sample(name: string, labels: Labels, value: number): string {
  if (!NAME.test(name)) throw new RangeError(`${name} is no name of a metric`);
  const pairs = Object.entries(labels).map(([label, text]) => {
    if (!LABEL.test(label)) throw new RangeError(`${label} is no name of a label`);
    return `${label}="${escapeLabel(String(text))}"`;
  });
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${formatValue(value)}\n`;
}
