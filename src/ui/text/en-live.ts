// English: the screens Live, Try and Export, and charts.
import { enChart } from "./en-chart.ts";
import { enExport } from "./en-export.ts";
import { enRun } from "./en-run.ts";
import { enTry } from "./en-try.ts";

export const enLive = { chart: enChart, run: enRun, tryout: enTry, exports: enExport };
