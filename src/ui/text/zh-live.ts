// Chinese: the screens Live, Try and Export, and charts.
import { zhChart } from "./zh-chart.ts";
import { zhExport } from "./zh-export.ts";
import { zhRun } from "./zh-run.ts";
import { zhTry } from "./zh-try.ts";
import type { enLive } from "./en-live.ts";

export const zhLive: typeof enLive = {
  chart: zhChart,
  run: zhRun,
  tryout: zhTry,
  exports: zhExport,
};
