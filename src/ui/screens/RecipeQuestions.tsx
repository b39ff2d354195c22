// The questions that the model answers as it learns.
import { createSignal, Index, Show } from "solid-js";
import { Button } from "../parts/Button.tsx";
import { TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

const PATH = "evaluation_inputs";

export function RecipeQuestions() {
  const { recipe } = useSession();
  const text = useText();
  const [isAdding, setIsAdding] = createSignal(false);
  const words = () => text().plan.recipe.questions;
  const kept = () => recipe.config().evaluation_inputs;
  const shown = () => (isAdding() ? [...kept(), ""] : kept());
  /** An empty question is none. */
  const put = (questions: readonly string[]) => {
    setIsAdding(false);
    recipe.set(
      PATH,
      questions.filter((question) => question.trim() !== ""),
    );
  };
  const isOwn = () => recipe.differences().some(({ path }) => path === PATH);
  return (
    <section class="card">
      <h2>{words().title}</h2>
      <p class="small quiet">{words().lead}</p>
      <Show when={shown().length === 0}>
        <p>{words().none}</p>
      </Show>
      <Index each={shown()}>
        {(question, index) => (
          <div class="recipe-question">
            <TextField
              label={words().label(index + 1)}
              value={question()}
              onChange={(value) => put(shown().with(index, value))}
            />
            <Button
              kind="subtle danger"
              aria-label={words().remove(index + 1)}
              onClick={() => put(shown().toSpliced(index, 1))}
            >
              {words().removeShort}
            </Button>
          </div>
        )}
      </Index>
      <div class="row">
        <Button disabled={isAdding()} onClick={() => setIsAdding(true)}>
          {words().add}
        </Button>
        <Show when={isOwn()}>
          <Button kind="subtle" onClick={() => recipe.reset(PATH)}>
            {words().fromData}
          </Button>
        </Show>
      </div>
    </section>
  );
}
