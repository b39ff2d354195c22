// What Vite says of the build, and the part of Trusted Types that the page uses: TypeScript knows neither.
declare module "*.css";

interface ImportMeta {
  readonly env: { readonly PROD: boolean };
}

/** Absent in browsers that have no Trusted Types. */
declare var trustedTypes:
  | {
      createPolicy<Rules extends Partial<Record<TrustedKind, (text: string) => string>>>(
        name: string,
        rules: Rules,
      ): { readonly [Kind in keyof Rules]: (text: string) => object };
    }
  | undefined;

type TrustedKind = "createHTML" | "createScriptURL";
