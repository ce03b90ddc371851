/** Who attacks what, and how it has to be refused. */
import type { FailureCode } from "../../../src/protocol/failure.ts";

export interface Attack {
  readonly name: string;
  readonly about: string;
  /** How the honest miners reach each other meanwhile: what they send meets the attack there. */
  readonly over: "gateway" | "direct";
  /** A miner with a place does it, beside its work; otherwise a process that has none. */
  readonly rogue: boolean;
  /**
   * The network has to count refusals under one of these; for some of them an epoch may be too short. None: there is nothing that it could
   * refuse, or another one refuses it.
   */
  readonly refusedAs: readonly FailureCode[];
}

const outside = { over: "gateway", rogue: false } as const;

export const attacks = [
  {
    ...outside,
    name: "connections",
    about: "5,000 connections from one address, renewed",
    refusedAs: ["too-many-connections"],
  },
  {
    ...outside,
    name: "slow-writers",
    about: "400 requests, handshakes and messages that stop half-way",
    refusedAs: ["timed-out", "too-many-connections"],
  },
  { ...outside, name: "forged-hellos", about: "hellos with wrong signatures", refusedAs: ["bad-signature"] },
  { ...outside, name: "replayed-hellos", about: "another session's hello", refusedAs: ["bad-signature"] },
  {
    ...outside,
    name: "pings",
    about: "pings without a session, answers never read",
    refusedAs: ["timed-out", "too-many-connections"],
  },
  {
    ...outside,
    name: "requests",
    about: "HTTP requests, pipelined, over 64 connections",
    refusedAs: ["unexpected-message"],
  },
  {
    ...outside,
    name: "garbage",
    about: "malformed and oversized messages in proper sessions",
    refusedAs: ["malformed-message"],
  },
  {
    ...outside,
    name: "outside-frames",
    about: "frames to those who train, from who has no place",
    refusedAs: ["not-authorised"],
  },
  {
    ...outside,
    name: "chatter",
    about: "correct, useless messages over 400 sessions",
    refusedAs: ["too-many-connections"],
  },
  {
    ...outside,
    name: "joins",
    about: "machines that can do nothing join and leave over and over",
    refusedAs: [],
  },
  {
    ...outside,
    name: "half-frames",
    about: "half a frame of 2 MB in each of 400 sessions",
    refusedAs: ["message-too-large"],
  },
  {
    ...outside,
    name: "slow-readers",
    about: "blobs asked for and never read, nor the session",
    refusedAs: ["timed-out", "too-many-connections"],
  },
  { ...outside, name: "blob-readers", about: "blobs fetched over and over", refusedAs: [] },
  { ...outside, name: "uploads", about: "blobs that nobody asked for", refusedAs: ["not-authorised"] },
  { ...outside, name: "one-key", about: "session after session of one key", refusedAs: ["duplicate-session"] },
  {
    over: "gateway",
    rogue: true,
    name: "rogue-relayed",
    about: "garbage from a member of the epoch, over the gateway",
    refusedAs: [],
  },
  {
    over: "direct",
    rogue: true,
    name: "rogue-direct",
    about: "garbage from a member of the epoch, over direct connections",
    refusedAs: [],
  },
  {
    over: "direct",
    rogue: false,
    name: "datagrams",
    about: "UDP at the miners' ports and the nodes where connections begin",
    refusedAs: [],
  },
] as const satisfies readonly Attack[];

/** Of those that processes without a place carry out. */
export type StrangerName = Extract<(typeof attacks)[number], { readonly rogue: false }>["name"];
