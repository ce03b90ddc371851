/** What passes between the preload script and the main process. Apart from any schema, so that the preload stays tiny. */
export const channels = {
  /** Page → main: an `ApiRequest`; answered by an `ApiReply`. */
  call: "local-api:call",
  /** Page → main: the number of a subscription; each has its own, so that a late one gets a snapshot of its own. */
  subscribe: "local-api:subscribe",
  unsubscribe: "local-api:unsubscribe",
  /** Main → page: the subscription's number, and an `ApiEvent` for it. */
  event: "local-api:event",
} as const;
