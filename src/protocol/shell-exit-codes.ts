/** What the Electron shell tells whoever started it by its exit code, beyond 0: the person has quit the app. */
export const shellExitCodes = {
  /** Another instance of the app is open, and shows its window; this one has shown nothing. */
  alreadyOpen: 20,
} as const;
