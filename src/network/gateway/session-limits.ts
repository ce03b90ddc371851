/** What a client may cost the gateway before its session ends. */
export interface SessionLimits {
  /** Without a valid `hello` by then the connection is closed. */
  readonly helloMs: number;
  /** Without a sign of life for so long it is closed. */
  readonly silenceMs: number;
  /** Control messages; a replica in training says about three per second. */
  readonly messagesPerSecond: number;
  /** Frames and pings on average; more wait. */
  readonly framesPerSecond: number;
  /** Refused messages at once after which the connection is closed; forgiven at one per ten seconds. */
  readonly refusals: number;
  /** A client that lets so much lie unread is closed. */
  readonly unreadBytes: number;
}

export const defaultSessionLimits: SessionLimits = {
  helloMs: 10_000,
  silenceMs: 15_000,
  messagesPerSecond: 100,
  framesPerSecond: 2000,
  refusals: 10,
  unreadBytes: 64 << 20,
};
