/** Imported before every schema: zod must not compile its parsers with `new Function`, which the page's policy forbids. */
import { z } from "zod";

z.config({ jitless: true });
