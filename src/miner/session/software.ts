import manifest from "../../../package.json" with { type: "json" };

/** What a session says of the program behind it. */
export const software = `train-at-home/${manifest.version}`;
