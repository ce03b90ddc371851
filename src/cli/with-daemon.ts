import { findDaemon } from "../miner/find-daemon.ts";
import { connectLocalApi, type LocalApiClient } from "../miner/local-api/client.ts";

/** Runs `use` with a connection to this computer's daemon. Rejects with `FailureError` unreachable when there is none. */
export async function withDaemon<T>(
  stateFolder: string | undefined,
  use: (api: LocalApiClient) => Promise<T>,
): Promise<T> {
  const api = await connectLocalApi(findDaemon(stateFolder));
  try {
    return await use(api);
  } finally {
    api.close();
  }
}
