// English: the screens Check, Recipe and Review.
import { enCheck } from "./en-plan-check.ts";
import { enOptions } from "./en-plan-options.ts";
import { enRecipe } from "./en-plan-recipe.ts";
import { enReview } from "./en-plan-review.ts";

export const enPlan = { check: enCheck, recipe: enRecipe, review: enReview, options: enOptions };
