import type { ReactNode } from "react";
import { Explained } from "../../components/explained.tsx";
import { trainedTokens } from "../../state/dashboard.ts";
import { useAppLists, useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { minerCounts, runTokensPerSecond } from "../network/network-view.ts";
import { useLossUnit } from "../training/loss-unit.ts";

const texts = strings.headline;

/** The five figures that are to be read from across the room. */
export function Headline() {
  return (
    <section className="headline" aria-label={texts.label}>
      <dl>
        <ValidationLoss />
        <TrainLoss />
        <Tokens />
        <NetworkSpeed />
        <OwnSpeed />
      </dl>
    </section>
  );
}

interface BigFigureProps {
  readonly name: string;
  readonly text: readonly string[];
  readonly value: string;
  readonly unit: string;
  readonly note: ReactNode;
}

function BigFigure({ name, text: [label = "", explanation = ""], value, unit, note }: BigFigureProps) {
  return (
    <div className="big-figure" data-figure={name}>
      <dt>
        <Explained text={[label, explanation]} />
      </dt>
      <dd>
        <span className="big-value">
          {value} <span className="unit">{unit}</span>
        </span>
        <span className="big-note">{note}</span>
      </dd>
    </div>
  );
}

function ValidationLoss() {
  const last = useAppLists((lists) => lists.evaluations.at(-1));
  const first = useAppLists((lists) => lists.evaluations.at(0));
  const unit = useLossUnit();
  return (
    <BigFigure
      name="validation-loss"
      text={texts.validation}
      value={last ? format.loss(last.validationLossNats) : strings.unknown}
      unit={unit}
      note={last && first ? texts.from(format.loss(first.validationLossNats)) : texts.noEvaluation}
    />
  );
}

function TrainLoss() {
  const telemetry = useAppState((state) => state.telemetry);
  const lastEpoch = useAppLists((lists) => lists.epochs.at(-1));
  const unit = useLossUnit();
  const loss = telemetry?.trainLossNats ?? lastEpoch?.trainLossNats ?? null;
  return (
    <BigFigure
      name="train-loss"
      text={texts.train}
      value={loss === null ? strings.unknown : format.loss(loss)}
      unit={unit}
      note={
        telemetry
          ? texts.inEpoch(format.count(telemetry.microbatchesDone), format.count(telemetry.microbatchesPlanned))
          : ""
      }
    />
  );
}

function Tokens() {
  const tokens = useAppState((state) => (state.run ? trainedTokens(state) : null));
  const target = useAppState(({ run }) => run?.targetTokens ?? null);
  return (
    <BigFigure
      name="tokens"
      text={texts.tokens}
      value={tokens === null ? strings.unknown : format.count(tokens)}
      unit={strings.units.tokens}
      note={
        target !== null && tokens !== null
          ? texts.ofTarget(format.percent(Math.min(1, tokens / target)), format.short(target))
          : texts.noTarget
      }
    />
  );
}

function NetworkSpeed() {
  const telemetry = useAppState((state) => state.telemetry);
  const stages = useAppState(({ run }) => run?.stages ?? null);
  const { training } = minerCounts(stages ?? []);
  return (
    <BigFigure
      name="network-speed"
      text={texts.network}
      value={telemetry && stages ? format.count(runTokensPerSecond(stages, telemetry)) : strings.unknown}
      unit={strings.units.tokensPerSecond}
      note={texts.miners(training, format.count(training))}
    />
  );
}

function OwnSpeed() {
  const speed = useAppState(({ activity }) => activity.tokensPerSecond);
  const share = useAppState(({ activity }) => activity.share);
  return (
    <BigFigure
      name="own-speed"
      text={texts.machine}
      value={format.count(speed)}
      unit={strings.units.tokensPerSecond}
      note={share === null ? texts.noShare : texts.share(format.percent(share))}
    />
  );
}
