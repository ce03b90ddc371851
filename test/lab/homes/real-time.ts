/** Tests of rates and delays take real time, which other work on the machine distorts: they run when somebody asks for them. */
export const takesRealTime = process.env.MEASURE_HOMES !== "1";
export const withRealTime = (name: string) =>
  takesRealTime ? `${name} (skipped: it measures real time, which MEASURE_HOMES=1 asks for)` : name;
