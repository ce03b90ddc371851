import { Button } from "react-aria-components/Button";
import { useSecondsLeft } from "../../components/seconds-left.ts";
import { useApi, useDashboard } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";

/** Above data that is no longer fresh: why, and when the next attempt is. */
export function ConnectionNotice() {
  const connection = useDashboard((dashboard) => dashboard.connection);
  const api = useApi();
  if (connection.kind === "open") return null;
  const texts = strings.connection;
  return (
    <div className="notice" role="alert">
      <p>
        <strong>{texts[connection.kind]}.</strong> {connection.kind === "lost" && texts.loss[connection.loss]}{" "}
        {connection.kind === "refused" && texts.refusedDetail} {texts.stale}
      </p>
      {connection.kind === "lost" && <Countdown untilMs={connection.retryAtMs} />}
      {connection.kind !== "refused" && (
        <Button className="button" onPress={() => api.reconnect()}>
          {texts.tryNow}
        </Button>
      )}
    </div>
  );
}

/** Not spoken: a screen reader would read every second. */
export function Countdown({ untilMs }: { untilMs: number }) {
  const seconds = useSecondsLeft(untilMs);
  return <p aria-hidden="true">{strings.connection.retryIn(format.duration(seconds))}</p>;
}
