// English: charts.

export const enChart = {
  empty: "Nothing to draw yet.",
  point: (chart: string) => `${chart}: point by point`,
  keys: "Arrow keys go from point to point, plus and minus zoom, 0 shows all of it.",
  showAll: "Show all",
  png: (chart: string) => `${chart}: save as PNG`,
  csv: (chart: string) => `${chart}: save as CSV`,
};
