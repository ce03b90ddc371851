/** What a session tells whoever opened it. */
import type { AdmissionNeed, AdmissionProof } from "../../protocol/admission.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import type { FailureCode } from "../../protocol/failure.ts";
import type { Session } from "./session.ts";

export type Hello = Extract<ClientMessage, { type: "hello" }>;
/** What an open session may say. */
export type SessionMessage = Exclude<ClientMessage, Hello | AdmissionMessage>;
type AdmissionMessage = Extract<ClientMessage, { type: "admission-proof" }>;

export interface SessionHandlers {
  /** Asked before what has come is looked at; false: this session has just ended, like all others. */
  isAwake(): boolean;
  /** Whether the client has a place in an epoch. */
  isMember(session: Session): boolean;
  /** What is asked of a client that is who it says; null: nothing. Throws `FailureError` when it is not let in. */
  needOf(applicant: Hello): AdmissionNeed | null;
  /** Throws `FailureError` when the client does not bring what was asked of it. */
  check(applicant: Hello, need: AdmissionNeed, proof: AdmissionProof): void;
  /** The client is who it says, and let in. */
  opened(session: Session): void;
  /** May throw `FailureError`, which is answered by `refused`. */
  message(session: Session, message: SessionMessage): void;
  /** May throw `FailureError`. `bytes` is the whole frame, which the handler may keep and change. */
  frame(session: Session, bytes: Uint8Array): void;
  closed(session: Session): void;
  /** Something that the client did was refused, or its connection was given up for this. */
  refused(code: FailureCode): void;
  /** A bug met while handling what this client sent. */
  bug(error: unknown): void;
}
