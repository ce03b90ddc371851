import { Facts } from "../../components/facts.tsx";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";

/** Four amounts that are never added up: only the last two are money. */
export function CreditsPanel() {
  const credits = useAppState((state) => state.credits);
  const texts = strings.credits;
  const amount = (microCredits: number) => (
    <>
      {format.credits(microCredits)} <span className="unit">{strings.units.credits}</span>
    </>
  );
  const forecast = (
    <>
      {format.short(credits.estimated / 1e6)} <span className="unit">{strings.units.creditsPerDay}</span>
    </>
  );
  return (
    <Panel title={texts.title} className="credits">
      <Facts
        facts={[
          { text: texts.estimated, value: forecast },
          { text: texts.pending, value: amount(credits.pending) },
          { text: texts.payable, value: amount(credits.payable) },
          { text: texts.paid, value: amount(credits.paid) },
        ]}
      />
    </Panel>
  );
}
