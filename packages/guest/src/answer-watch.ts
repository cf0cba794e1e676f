import { AgentError } from "./errors.js";

/** How long an agent is waited for. */
export interface Patience {
  /** Milliseconds without any answer of the agent after which it is given up; 15000 unless given. */
  readonly answerTimeoutMs?: number;
  /** Asked before an agent is given up: that of a paused machine cannot answer and is waited for. */
  readonly isPaused?: () => boolean | Promise<boolean>;
}

const ANSWER_TIMEOUT_MS = 15_000;
/** A silence of so many ticks in a row is an agent that does not answer. */
const SILENT_TICKS = 3;
/** How much later than in the guest a request's time is over on the host. */
const MARGIN_MS = 5_000;

/**
 * Notices that an agent does not answer, and that a process outlives its time. Silence is counted in ticks of
 * the event loop, each of which asks for an answer: a host that slept, or was busy for long, sees one late tick
 * and then what has arrived meanwhile. Only time in which the agent answered counts for the process's time.
 */
export class AnswerWatch {
  /** The host itself does not read, so that no answer can be heard. */
  held = false;
  readonly #tickMs: number;
  readonly #timeoutMs: number;
  readonly #isPaused: () => boolean | Promise<boolean>;
  readonly #ask: () => void;
  readonly #giveUp: (error: AgentError) => void;
  readonly #timer: NodeJS.Timeout;
  #heard = false;
  #silentTicks = 0;
  #elapsedMs = 0;
  #paused: Promise<boolean> | undefined;
  #closed = false;

  /**
   * @param timeoutMs the request's time; 0 is no end.
   * @param ask sends what the agent answers at once.
   */
  constructor(
    patience: Patience,
    timeoutMs: number,
    ask: () => void,
    giveUp: (error: AgentError) => void,
  ) {
    this.#tickMs = Math.max(1, (patience.answerTimeoutMs ?? ANSWER_TIMEOUT_MS) / SILENT_TICKS);
    this.#timeoutMs = timeoutMs;
    this.#isPaused = patience.isPaused ?? (() => false);
    this.#ask = ask;
    this.#giveUp = giveUp;
    this.#timer = setInterval(() => this.#tick(), this.#tickMs);
  }

  /** Something came from the agent. */
  heard(): void {
    this.#heard = true;
  }

  /** Whether the machine is known to be paused. Never rejects. */
  async isPaused(): Promise<boolean> {
    try {
      return await this.#isPaused();
    } catch {
      // Whoever cannot tell does not know of a pause.
      return false;
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#heard || this.held) {
      this.#silentTicks = 0;
      this.#elapsedMs += this.#tickMs;
    } else {
      this.#silentTicks++;
    }
    this.#heard = false;
    if (this.#timeoutMs > 0 && this.#elapsedMs > this.#timeoutMs + MARGIN_MS) {
      this.#giveUp(
        new AgentError(
          "ERR_AGENT_TIMEOUT",
          `the process did not end within its ${this.#timeoutMs} ms, and could not be killed: it may wait for a device or a file system`,
        ),
      );
    } else if (this.#silentTicks >= SILENT_TICKS) {
      void this.#giveUpUnlessPaused(this.#paused ?? this.isPaused());
      this.#paused = undefined;
    } else if (!this.held) {
      // Asked a tick ahead: whoever is asked may hang as well.
      if (this.#silentTicks === SILENT_TICKS - 1) this.#paused = this.isPaused();
      this.#ask();
    }
  }

  async #giveUpUnlessPaused(answer: Promise<boolean>): Promise<void> {
    const paused = await answer;
    if (paused) this.#silentTicks = 0;
    if (paused || this.#closed || this.#silentTicks < SILENT_TICKS) return;
    const waitedMs = Math.round(this.#tickMs * SILENT_TICKS);
    this.#giveUp(
      new AgentError(
        "ERR_AGENT_TIMEOUT",
        `the guest's agent has not answered for ${waitedMs} ms; the guest hangs, or is too busy`,
      ),
    );
  }
}
