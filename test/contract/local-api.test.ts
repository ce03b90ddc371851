import { connectLocalApi } from "../../src/miner/local-api/client.ts";
import { describeLocalApi } from "./local-api.ts";

describeLocalApi("in process", async ({ daemon }) => ({ api: daemon.api, close: () => {} }));

describeLocalApi("WebSocket", async ({ daemon }) => {
  const api = await connectLocalApi(daemon.address);
  return { api, close: () => api.close() };
});
