/** Who takes part in an epoch, as the network signs it: what messages are routed by. */
import { z } from "zod";
import { minerIdSchema, type PlaceRef, placeRefSchema } from "./ids.ts";

const count = z.int().nonnegative();

/** One replica of a stage, as routing needs it. */
export const rosterReplicaSchema = z.strictObject({
  minerId: minerIdSchema,
  /** Its share of the stage's work, relative to the other replicas'. */
  weight: z.int().positive(),
});
export type RosterReplica = Readonly<z.infer<typeof rosterReplicaSchema>>;
const rosterStageSchema = z.array(rosterReplicaSchema).readonly();
export const rosterSchema = z.strictObject({
  /** Grows with every change; an older one never replaces a newer one. */
  version: count,
  /** For each stage, first stage first, the replicas that take part in this epoch and live. */
  stages: z.array(rosterStageSchema).readonly(),
  /** The first stage's as the epoch began, whoever of them lives: the shares follow from them (`source-shares.ts`), also for who starts late. */
  sources: rosterStageSchema,
});
export type Roster = Readonly<z.infer<typeof rosterSchema>>;

/** `signature` is the network's, over `rosterBytes(at, roster)`. */
export const signedRosterShape = { at: placeRefSchema, roster: rosterSchema, signature: z.instanceof(Uint8Array) };

/** What the network signs in a roster. */
export function rosterBytes(at: PlaceRef, roster: Roster): Uint8Array {
  const { version, stages, sources } = roster;
  const listed = (replicas: Roster["sources"]) => replicas.map(({ minerId, weight }) => [minerId, weight]);
  return Buffer.from(
    JSON.stringify(["roster", at.runId, at.epoch, at.attempt, version, stages.map(listed), listed(sources)]),
  );
}
