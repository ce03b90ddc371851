/**
 * Of what a network's state folder holds: the tables, and the states and events in them. Raised whenever one of these changes its
 * shape, or the core its rules: a log is worth nothing to a program that would replay it to another state.
 */
export const stateVersion = 8;
