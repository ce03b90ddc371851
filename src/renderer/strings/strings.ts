/** The texts of the page in the person's language, and the numbers in the same. A new language is one more catalogue. */
import { createFormat } from "../format/format.ts";
import { english } from "./en.ts";

export type Strings = typeof english;

export const strings: Strings = english;
export const format = createFormat(strings.locale);
