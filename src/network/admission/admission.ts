/**
 * Decides whom a network lets in, once a key is proven: bans first, then what the network asks of keys that it does not know. This
 * folder imports `disk` and `protocol`.
 */
import { type AdmissionNeed, type AdmissionProof, isWorkDone, readInvitation } from "../../protocol/admission.ts";
import { type Failure, FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { RateLimit } from "../rate-limit.ts";
import { BanList } from "./bans.ts";
import { Members } from "./members.ts";

/** What a network asks of miners that it does not know. */
export type AdmissionPolicy = { readonly kind: "open" } | AdmissionNeed;

export interface AdmissionOptions {
  readonly policy: AdmissionPolicy;
  readonly networkId: string;
  readonly stateFolder: string;
  /** They need neither invitation nor work. */
  readonly owners: ReadonlySet<MinerId>;
  /** Milliseconds since 1970 that never go back. */
  readonly clock: () => number;
  readonly log: (text: string) => void;
}

interface Applicant {
  readonly minerId: MinerId;
  readonly role: "miner" | "observer";
}

/** A miner opens a session when its connection was lost; more often than this it is broken, or wants to do harm. */
const sessionsPerSecond = 0.5;
const sessionsAtOnce = 20;

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #members: Members;
  readonly #bans: BanList;
  readonly #sessions = new Map<MinerId, RateLimit>();
  /** Who is banned may have changed. */
  onBansChanged: () => void = () => undefined;

  /** Throws `FailureError` (state-corrupt, file-unreadable). */
  constructor(options: AdmissionOptions) {
    const { stateFolder, log } = options;
    this.#options = options;
    this.#members = new Members(stateFolder);
    this.#bans = new BanList({ stateFolder, onChange: () => this.onBansChanged(), log });
  }

  /**
   * What is asked of this key; null: nothing, it is in. Observers see what anyone may see, so nothing is asked of them. Throws
   * `FailureError` (banned, too-many-connections).
   */
  needOf({ minerId, role }: Applicant): AdmissionNeed | null {
    this.#mustNotBeBanned(minerId);
    this.#mustNotComeTooOften(minerId);
    const { policy, owners } = this.#options;
    if (policy.kind === "open" || role === "observer" || owners.has(minerId) || this.#members.has(minerId)) return null;
    return policy;
  }

  /** Lets in who brings what was asked. Throws `FailureError` (banned, admission-refused, disk-full, file-unreadable). */
  check({ minerId }: Applicant, need: AdmissionNeed, proof: AdmissionProof): void {
    this.#mustNotBeBanned(minerId);
    const { networkId } = this.#options;
    if (need.kind === "invitation" && proof.kind === "invitation") this.#redeem(minerId, proof.token);
    else if (need.kind !== "proof-of-work" || proof.kind !== "proof-of-work")
      throw new FailureError("admission-refused", "This is not what the network asked for.");
    else if (!isWorkDone(networkId, minerId, proof.solution, need.bits))
      throw new FailureError(
        "admission-refused",
        `The solution has not the ${need.bits} zero bits that were asked for.`,
      );
  }

  /** Why this key is kept out, as it is told; null: it is not banned. */
  banOf(minerId: MinerId): Failure | null {
    const reason = this.#bans.reasonOf(minerId);
    if (reason === undefined) return null;
    return {
      code: "banned",
      message: `This network has banned this machine's key: ${reason}`,
      action: "Ask its owner; what was earned before stays in its books.",
      retry: false,
    };
  }

  /** Forgets keys of which there is nothing to remember. */
  sweep(): void {
    for (const [minerId, limit] of this.#sessions) if (limit.isRested) this.#sessions.delete(minerId);
  }

  close(): void {
    this.#bans.close();
  }

  #redeem(minerId: MinerId, token: string): void {
    const invitation = readInvitation(token, this.#options.networkId);
    if (invitation === null) throw notInvited("This is no invitation of this network.");
    // It may have come in over another connection meanwhile.
    if (this.#members.has(minerId)) return;
    const nowMs = this.#options.clock();
    if (invitation.expiresAtSeconds * 1000 <= nowMs) throw notInvited("This invitation has expired.");
    if (this.#members.broughtBy(invitation.id) >= invitation.uses)
      throw notInvited("This invitation has been used as often as it may be.");
    this.#members.add({ minerId, invitation: invitation.id, atMs: nowMs });
  }

  #mustNotBeBanned(minerId: MinerId): void {
    const failure = this.banOf(minerId);
    if (failure !== null) throw new FailureError(failure.code, failure.message, failure);
  }

  #mustNotComeTooOften(minerId: MinerId): void {
    const { clock } = this.#options;
    const limit = this.#sessions.get(minerId) ?? new RateLimit(sessionsPerSecond, sessionsAtOnce, clock);
    this.#sessions.set(minerId, limit);
    if (!limit.admit())
      throw new FailureError("too-many-connections", "This key opens sessions more often than a miner has to.", {
        retry: true,
      });
  }
}

function notInvited(message: string): FailureError {
  return new FailureError("admission-refused", message, { action: "Ask the network's owner for another one." });
}
