import { Button } from "react-aria-components/Button";
import { EmptyState } from "../../components/empty-state.tsx";
import { useApi, useDashboard } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";
import { Countdown } from "./connection-notice.tsx";
import { Mark } from "./mark.tsx";

/** The whole page while nothing has been heard from the daemon yet. */
export function NoDaemon() {
  const connection = useDashboard((dashboard) => dashboard.connection);
  const api = useApi();
  const texts = strings.connection;
  const detail =
    connection.kind === "lost"
      ? texts.loss[connection.loss]
      : connection.kind === "refused"
        ? texts.refusedDetail
        : texts.connectingDetail;
  return (
    <main className="full">
      <div className="brand">
        <Mark />
        <h1>{strings.app}</h1>
      </div>
      <div role="status">
        <EmptyState title={texts[connection.kind]} detail={detail} />
      </div>
      {connection.kind === "lost" && (
        <>
          <Countdown untilMs={connection.retryAtMs} />
          <Button className="button primary" onPress={() => api.reconnect()}>
            {texts.tryNow}
          </Button>
        </>
      )}
    </main>
  );
}
