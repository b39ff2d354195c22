// A worker's file, as Vite names it in the built page.
declare module "*?worker&url" {
  const url: string;
  export default url;
}
