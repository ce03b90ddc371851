/**
 * How a draft gets better: miners without a stage are dealt out, then stages change hands one at a time where that raises the
 * score. Only stages of the bottleneck can be worth another replica (the cut that proves T is made of them), which keeps the
 * neighbourhood small.
 */
import { type Draft, isBetter, type Score } from "./draft.ts";
import { countStages, hasStage, isSeveral, mostStages, type StageSet, stagesOf } from "./stage-set.ts";

/** In a swarm of so many, each miner is tried, and whoever takes over from it; in larger ones, some of each kind. */
const smallSwarm = 16;
/** In a swarm of so few, where every byte of memory may count, any two miners are packed anew. */
const tinySwarm = 8;
/** Ways to fill one miner's memory that are tried then. */
const fillings = 12;
const starts = 4;
/** Of miners that hold the same and have room for the same: the fastest, the slowest, and those between. */
const tried = 4;
/** A step that gives one stage more than another step has to bring so much more. */
const stepShare = 0.03;

/** Steps that are tried at most, over all: what is left to gain in a large swarm then is little. */
const mostTries = 4000;

interface Budget {
  left: number;
}

/** One or two miners, and what each of them holds afterwards. */
type Step = readonly { readonly miner: number; readonly stages: StageSet }[];

/**
 * Gives each of these miners the stage that has least for its work, of those that fit; the fastest come first, as with the longest
 * jobs on parallel machines (Graham 1969), but before them those that have little choice.
 */
export function dealOut(draft: Draft, miners: readonly number[]): void {
  const { single, several } = draft.rates();
  const given = draft.stages.map(({ work }, stage) => ({ stage, work, rate: single[stage] ?? 0 }));
  for (const { stages, rate } of several)
    for (const stage of stagesOf(stages)) {
      const pile = given[stage];
      if (pile) pile.rate += rate / stagesOf(stages).length;
    }
  const choices = miners.map((miner) => ({ miner, fitting: stagesOf(draft.roomBeside(miner, 0)) }));
  choices.sort(
    (a, b) =>
      a.fitting.length - b.fitting.length ||
      (draft.miners[b.miner]?.blockTokensPerSecond ?? 0) - (draft.miners[a.miner]?.blockTokensPerSecond ?? 0) ||
      a.miner - b.miner,
  );
  for (const { miner, fitting } of choices) {
    const piles = given.filter(({ stage }) => fitting.includes(stage));
    const [first, ...others] = piles;
    if (first === undefined) continue;
    const least = others.reduce((a, b) => (b.rate / b.work < a.rate / a.work ? b : a), first);
    draft.give(miner, 1 << least.stage, 1 << least.stage);
    least.rate += draft.rateOf(miner, 1 << least.stage);
  }
}

/**
 * Other starts for the search in a tiny swarm: each of these miners fills its memory, in another way each time. Null where it would take too long.
 */
export function* fullStarts(draft: Draft, miners: readonly number[]): Generator<void> {
  if (draft.miners.length > tinySwarm) return;
  for (let start = 0; start < starts; start++) {
    for (const miner of miners) {
      const sets = fullestSets(draft, miner);
      draft.give(miner, sets[(start + miner * start) % sets.length] ?? 0, 0);
    }
    yield;
  }
}

/**
 * Changes what these miners hold, best step first, until no step makes the placement better or it has `enough` tokens per second.
 * Returns the score at the end; `onStep` is told each on the way.
 */
export function improve(
  draft: Draft,
  miners: readonly number[],
  enough: number,
  onStep: (score: Score) => void = () => undefined,
): Score {
  let score = draft.score();
  const budget = { left: mostTries };
  const fastestFirst = miners.toSorted(
    (a, b) => (draft.miners[b]?.blockTokensPerSecond ?? 0) - (draft.miners[a]?.blockTokensPerSecond ?? 0) || a - b,
  );
  for (;;) {
    const uncovered = draft.uncovered();
    const slow = score.tokensPerSecond < enough;
    const best =
      (uncovered === 0 ? null : bestStep(draft, handOvers(draft, fastestFirst, uncovered), score, budget)) ??
      (slow ? bestStep(draft, handOvers(draft, fastestFirst, score.bottleneck), score, budget) : null) ??
      (slow || uncovered !== 0 ? bestStep(draft, repackings(draft, miners), score, budget) : null);
    if (best === null) return score;
    for (const { miner, stages } of best) draft.give(miner, stages, score.bottleneck);
    score = draft.score();
    onStep(score);
  }
}

/**
 * Takes stages from miners that hold several, those that may be taken, as long as coverage and `least` tokens per second remain.
 * One stage per miner keeps its memory free and its part in merges small.
 */
export function trim(
  draft: Draft,
  miners: readonly number[],
  least: number,
  mayTake: (miner: number, stage: number) => boolean,
): void {
  const { coverage, bottleneck } = draft.score();
  const places = miners.flatMap((miner) =>
    isSeveral(draft.heldBy(miner)) ? stagesOf(draft.heldBy(miner)).map((stage) => ({ miner, stage })) : [],
  );
  const taken = places.filter(({ miner, stage }) => mayTake(miner, stage));
  // Stages that are fast enough can spare a replica first.
  taken.sort((a, b) => Number(hasStage(bottleneck, a.stage)) - Number(hasStage(bottleneck, b.stage)));
  for (const { miner, stage } of taken) {
    const held = draft.heldBy(miner);
    if (!isSeveral(held)) continue;
    draft.hold(miner, held & ~(1 << stage));
    const without = draft.score();
    if (without.coverage < coverage || without.tokensPerSecond < least) draft.hold(miner, held);
  }
}

/** The step that makes the placement best; null when none makes it better. */
function bestStep(draft: Draft, steps: Iterable<Step>, before: Score, budget: Budget): Step | null {
  let best: { readonly step: Step | null; readonly score: Score; readonly worth: number } = {
    step: null,
    score: before,
    worth: 0,
  };
  for (const step of steps) {
    if (budget.left-- <= 0) break;
    const worthShare = (1 - stepShare) ** countGiven(draft, step);
    const held = step.map(({ miner }) => draft.heldBy(miner));
    for (const { miner, stages } of step) draft.hold(miner, stages);
    // Most steps are seen to be worse before the flow is worked out.
    const coverage = draft.coverage();
    const hopeful =
      coverage > best.score.coverage ||
      (coverage === best.score.coverage && draft.ceiling() * worthShare >= best.worth);
    const score = hopeful ? draft.score() : before;
    for (const [index, { miner }] of step.entries()) draft.hold(miner, held[index] ?? 0);
    if (!isBetter(score, before)) continue;
    const worth = score.tokensPerSecond * worthShare;
    const preferred =
      score.coverage > best.score.coverage ||
      worth > best.worth ||
      (worth === best.worth && score.bottleneckWork < best.score.bottleneckWork);
    if (preferred) best = { step, score, worth };
  }
  return best.step;
}

function countGiven(draft: Draft, step: Step): number {
  return step.reduce((sum, { miner, stages }) => sum + countStages(stages & ~draft.heldBy(miner)), 0);
}

/** A miner gets a wanted stage: beside what it holds, or instead of one stage or all. */
function* handOvers(draft: Draft, miners: readonly number[], wanted: StageSet): Generator<Step> {
  const small = draft.miners.length <= smallSwarm;
  for (const miner of small ? miners : someOfEachKind(draft, miners)) {
    const held = draft.heldBy(miner);
    for (const stage of stagesOf(wanted & ~held)) {
      const gets = 1 << stage;
      if (!draft.fits(miner, gets)) continue;
      // Where there are many miners, one of them moves as a whole, and others make up for it.
      const beside = small || held === 0 || draft.replicasOf(stage).reliable < 2;
      if (beside && draft.fits(miner, held | gets)) yield [{ miner, stages: held | gets }];
      if (held === 0) continue;
      yield [{ miner, stages: gets }];
      for (const given of stagesOf(held)) {
        const stages = (held & ~(1 << given)) | gets;
        if (!draft.fits(miner, stages)) continue;
        if (isSeveral(held)) yield [{ miner, stages }];
        if (small) yield* takenOver(draft, miners, { miner, stages }, stage, given);
      }
    }
  }
}

/** The same step with another miner that takes over the stage given up: beside its own, or in exchange. */
function* takenOver(
  draft: Draft,
  miners: readonly number[],
  change: Step[number],
  stage: number,
  given: number,
): Generator<Step> {
  for (const miner of miners) {
    const held = draft.heldBy(miner);
    if (miner === change.miner || hasStage(held, given)) continue;
    for (const stages of new Set([held | (1 << given), (held & ~(1 << stage)) | (1 << given)]))
      if (draft.fits(miner, stages)) yield [change, { miner, stages }];
  }
}

/** Two miners of a tiny swarm fill their memory in any other way. */
function* repackings(draft: Draft, miners: readonly number[]): Generator<Step> {
  if (draft.miners.length > tinySwarm) return;
  const sets = miners.map((miner) => ({
    miner,
    sets: [draft.heldBy(miner), ...fullestSets(draft, miner), ...singleSets(draft, miner)],
  }));
  for (const [index, one] of sets.entries())
    for (const other of sets.slice(index + 1))
      for (const stages of one.sets)
        for (const others of other.sets)
          yield [
            { miner: one.miner, stages },
            { miner: other.miner, stages: others },
          ];
}

/** Some of the ways to fill a miner's memory: with any two stages, and then with what follows them in the pipeline. */
function fullestSets(draft: Draft, miner: number): StageSet[] {
  const fitting = stagesOf(draft.roomBeside(miner, 0));
  const sets = new Set<StageSet>();
  for (const [index, first] of fitting.entries())
    for (const second of fitting.slice(index)) {
      const after = fitting.filter((stage) => stage > second);
      const before = fitting.filter((stage) => stage <= second);
      let set: StageSet = 0;
      for (const stage of [first, second, ...after, ...before])
        if (draft.fits(miner, set | (1 << stage))) set |= 1 << stage;
      sets.add(set);
      if (sets.size === fillings) return [...sets];
    }
  return [...sets];
}

function singleSets(draft: Draft, miner: number): StageSet[] {
  return stagesOf(draft.roomBeside(miner, 0)).map((stage) => 1 << stage);
}

/** Of miners that hold the same and have room for as much, a few: in a large swarm there is one of the right speed among them. */
function someOfEachKind(draft: Draft, fastestFirst: readonly number[]): number[] {
  const kinds = new Map<number, number[]>();
  for (const miner of fastestFirst) {
    const held = draft.heldBy(miner);
    const kind = held * (mostStages + 1) + draft.countRoomBeside(miner, held);
    const alike = kinds.get(kind);
    if (alike) alike.push(miner);
    else kinds.set(kind, [miner]);
  }
  return [...kinds.values()].flatMap((alike) => {
    const places = Array.from({ length: tried }, (_, index) => Math.round((index * (alike.length - 1)) / (tried - 1)));
    return [...new Set(places)].flatMap((place) => alike[place] ?? []);
  });
}
