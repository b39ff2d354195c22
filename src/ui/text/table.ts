// Every text of the page, one table per language, put together from the screens' own.
import { enApp } from "./en-app.ts";
import { enData } from "./en-data.ts";
import { enLibrary } from "./en-library.ts";
import { enLive } from "./en-live.ts";
import { enPlan } from "./en-plan.ts";
import { zhApp } from "./zh-app.ts";
import { zhData } from "./zh-data.ts";
import { zhLibrary } from "./zh-library.ts";
import { zhLive } from "./zh-live.ts";
import { zhPlan } from "./zh-plan.ts";

export const LANGUAGES = ["en", "zh"] as const;
export type Language = (typeof LANGUAGES)[number];

const en = { app: enApp, plan: enPlan, library: enLibrary, data: enData, live: enLive };

/** A text with numbers or names in it is a function of them. */
export type Text = typeof en;

const zh: Text = { app: zhApp, plan: zhPlan, library: zhLibrary, data: zhData, live: zhLive };

export const TEXTS: Readonly<Record<Language, Text>> = { en, zh };
