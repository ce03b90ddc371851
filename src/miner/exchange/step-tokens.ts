/**
 * What tokens count in the average of a step: replicas say them of themselves, and are held against what the sources send. All who
 * are on one roster come to the same.
 */
import { countedTokens } from "../../protocol/counted-tokens.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { microbatchesInStep } from "../../protocol/source-shares.ts";
import { holdsFirstStage, type Place, tokensPerMicrobatch } from "../flow/place.ts";
import type { Routes } from "../flow/routes.ts";

interface Surroundings {
  readonly place: Place;
  readonly routes: Pick<Routes, "sources" | "shareOf" | "weightOf">;
}

/** The most that a replica can say: a source sends its share, and what all send passes through the other stages' replicas. */
export function mostTokensOf({ place, routes }: Surroundings, miner: MinerId): number {
  return holdsFirstStage(place) ? tokensIn(place, routes.shareOf(miner)?.count ?? 0) : tokensInStep({ place, routes });
}

/** What was said, cut down where it is more than the step has: to nothing, too, but a replica's own movement has to be among what is averaged. */
export function withCountedTokens<C extends { readonly miner: MinerId; readonly tokens: number }>(
  claims: readonly C[],
  { place, routes }: Surroundings,
): readonly C[] {
  const weighted = claims.map(({ miner, tokens }) => ({ tokens, weight: routes.weightOf(miner, place.stage.index) }));
  const counted = countedTokens(weighted, tokensInStep({ place, routes }));
  return claims.map((claim, index) => ({ ...claim, tokens: counted[index] ?? 0 }));
}

function tokensInStep({ place, routes }: Surroundings): number {
  return tokensIn(place, microbatchesInStep(routes.sources.length, place.training.microbatchesPerStep));
}

/** Where steps may overtake each other, those of later steps as well. */
function tokensIn(place: Place, microbatches: number): number {
  return microbatches * (1 + place.training.maximumStaleness) * tokensPerMicrobatch(place);
}
