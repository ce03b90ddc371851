import type { Evaluation } from "../../../protocol/run-view.ts";
import { EmptyState } from "../../components/empty-state.tsx";
import { useAppLists } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { useLossUnit } from "../training/loss-unit.ts";

const shownSamples = 40;

/** Text that the model in training wrote, newest first. */
export function Samples() {
  const evaluations = useAppLists((lists) => lists.evaluations);
  const unit = useLossUnit();
  const texts = strings.samples;
  const written = newestFirst(evaluations);
  if (written.length === 0) return <EmptyState title={texts.empty} detail={texts.emptyDetail} />;
  return (
    <ol className="samples">
      {written.map(({ epoch, validationLossNats, sample }) => (
        <li key={epoch}>
          <p className="sample-caption">{texts.caption(format.count(epoch), format.loss(validationLossNats), unit)}</p>
          <p className="sample-text">
            <span className="sample-prompt">{sample.prompt}</span>
            {sample.text}
          </p>
        </li>
      ))}
    </ol>
  );
}

type Written = Evaluation & { readonly sample: NonNullable<Evaluation["sample"]> };

function newestFirst(evaluations: readonly Evaluation[]): readonly Written[] {
  const written: Written[] = [];
  for (let index = evaluations.length - 1; index >= 0 && written.length < shownSamples; index--) {
    const evaluation = evaluations[index];
    if (evaluation?.sample) written.push({ ...evaluation, sample: evaluation.sample });
  }
  return written;
}
