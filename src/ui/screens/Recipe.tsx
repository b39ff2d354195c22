// Recipe: how the model learns. Three presets in words; all options folded below.
import { Show } from "solid-js";
import { LinkButton } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { useSession, useText } from "../session.ts";
import { RecipeDifferences } from "./RecipeDifferences.tsx";
import { RecipeFile } from "./RecipeFile.tsx";
import { RecipeOptions } from "./RecipeOptions.tsx";
import { RecipePresets } from "./RecipePresets.tsx";
import { RecipeQuestions } from "./RecipeQuestions.tsx";
import "./recipe.css";

export function Recipe() {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe;
  return (
    <Screen
      title={words().title}
      lead={words().lead}
      summary={words().summary(words().presets[recipe.preset()].name, recipe.differences().length)}
      actions={
        <LinkButton kind="primary" href={hrefOf("review")}>
          {text().app.next(text().app.screens.review)}
        </LinkButton>
      }
    >
      <RecipePresets />
      <Show when={recipe.problems().size > 0}>
        <Notice kind="warn" problem={words().hasProblems} />
      </Show>
      <RecipeDifferences />
      <RecipeQuestions />
      <RecipeOptions />
      <RecipeFile />
    </Screen>
  );
}
