import {
  IconActivity, IconBook, IconDatabase, IconHome, IconPackage, IconPencil, IconPlayerPlay, IconSettings, type Icon,
} from "../parts/icons";

interface Page {
  path: string;
  name: string;
  Glyph: Icon;
  /** After g, it leads here. */
  key: string;
}

/** The pages in the navigation. */
export const PAGES: Page[] = [
  { path: "", name: "Home", Glyph: IconHome, key: "h" },
  { path: "runs", name: "Runs", Glyph: IconPlayerPlay, key: "r" },
  { path: "data", name: "Data", Glyph: IconDatabase, key: "d" },
  { path: "editor", name: "Editor", Glyph: IconPencil, key: "e" },
  { path: "environments", name: "Environments", Glyph: IconPackage, key: "n" },
  { path: "activity", name: "Activity", Glyph: IconActivity, key: "a" },
  { path: "settings", name: "Settings", Glyph: IconSettings, key: "s" },
  { path: "docs", name: "Docs", Glyph: IconBook, key: "o" },
];

export const addressOf = (workspace: string, path: string): string => `/w/${workspace}${path && `/${path}`}`;
