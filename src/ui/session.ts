// All state of the page, in slices by screen. These files alone talk to the workers.
//
// A slice may use the others through `context.session()`, but only after the session is made: in actions
// and in derived values, not while it is being created.
import { createContext, useContext } from "solid-js";
import { createAppSlice, type AppSlice } from "./session-app.ts";
import { createCheckSlice, type CheckSlice } from "./session-check.ts";
import { createDataSlice, type DataSlice } from "./session-data.ts";
import { createExportSlice, type ExportSlice } from "./session-export.ts";
import { createLiveSlice, type LiveSlice } from "./session-live.ts";
import { createModelSlice, type ModelSlice } from "./session-model.ts";
import { createRecipeSlice, type RecipeSlice } from "./session-recipe.ts";
import { createRunsSlice, type RunsSlice } from "./session-runs.ts";
import { createTrySlice, type TrySlice } from "./session-try.ts";
import type { Text } from "./text/table.ts";
import { invariant } from "../base/error.ts";
import type { Workers } from "./workers.ts";

export interface Session {
  readonly app: AppSlice;
  readonly check: CheckSlice;
  readonly models: ModelSlice;
  readonly data: DataSlice;
  readonly recipe: RecipeSlice;
  readonly live: LiveSlice;
  readonly tryout: TrySlice;
  readonly exports: ExportSlice;
  readonly runs: RunsSlice;
}

/** What a slice is made with. */
export interface SliceContext {
  readonly workers: Workers;
  readonly app: AppSlice;
  readonly session: () => Session;
}

/** Makes the session inside the caller's reactive root, and begins to read what is stored. */
export function createSession(workers: Workers): Session {
  let made: Session | undefined;
  const app = createAppSlice();
  const context: SliceContext = {
    workers,
    app,
    session() {
      invariant(made !== undefined, () => "a slice uses another one before all are made");
      return made;
    },
  };
  made = {
    app,
    check: createCheckSlice(context),
    models: createModelSlice(context),
    data: createDataSlice(context),
    recipe: createRecipeSlice(context),
    live: createLiveSlice(context),
    tryout: createTrySlice(context),
    exports: createExportSlice(context),
    runs: createRunsSlice(context),
  };
  void app.attempt(() => startSession(made));
  void workers.failed.then(() => {
    const { problem, remedy } = app.text().app.workersFailed;
    app.tell("bad", problem, remedy);
  });
  return made;
}

/** What is stored comes in; then a run that was cut off goes on. */
async function startSession(session: Session): Promise<void> {
  await Promise.all([
    session.check.start(),
    session.models.refresh(),
    session.data.refresh(),
    session.runs.refresh(),
  ]);
  await session.live.restore();
}

const Context = createContext<Session>();
export const SessionProvider = Context.Provider;

export function useSession(): Session {
  const session = useContext(Context);
  invariant(session !== undefined, () => "no session above this component");
  return session;
}

/** The texts in the language of the moment: `text().app.name`. */
export function useText(): () => Text {
  return useSession().app.text;
}
