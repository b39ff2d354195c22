// Chinese: charts.
import type { enChart } from "./en-chart.ts";

export const zhChart: typeof enChart = {
  empty: "还没有可画的数据。",
  point: (chart) => `${chart}：逐点查看`,
  keys: "方向键逐点移动，加号和减号缩放，0 显示全部。",
  showAll: "显示全部",
  png: (chart) => `${chart}：保存为 PNG`,
  csv: (chart) => `${chart}：保存为 CSV`,
};
