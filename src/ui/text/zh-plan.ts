// Chinese: the screens Check, Recipe and Review.
import type { enPlan } from "./en-plan.ts";
import { zhCheck } from "./zh-plan-check.ts";
import { zhOptions } from "./zh-plan-options.ts";
import { zhRecipe } from "./zh-plan-recipe.ts";
import { zhReview } from "./zh-plan-review.ts";

export const zhPlan: typeof enPlan = {
  check: zhCheck,
  recipe: zhRecipe,
  review: zhReview,
  options: zhOptions,
};
