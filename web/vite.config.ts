import tabler from "@iconify-json/tabler/icons.json" with { type: "json" };
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

/** `tabler:NAME` is the drawing of that icon: its paths, without how their lines look. All icons are in one file. */
const icons: Plugin = {
  name: "icons",
  resolveId: (id) => (id.startsWith("tabler:") ? `\0${id}` : null),
  load(id) {
    if (!id.startsWith("\0tabler:")) return null;
    const name = id.slice("\0tabler:".length);
    const drawn = (tabler.icons as Record<string, { body: string }>)[name];
    if (!drawn) this.error(`There is no icon ${name}.`);
    return `export default ${JSON.stringify(drawn.body.replace(/ (fill|stroke[a-z-]*)="[^"]*"/g, ""))}`;
  },
};

// The daemon serves what is built, from the package; `npm run dev` asks one whose daemon_port is 8642.
export default defineConfig({
  plugins: [react(), icons],
  build: {
    outDir: "../src/flowstead/daemon/console",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2022",
    // A page is three requests, not thirty: what every page begins with, what several share, and what is its own.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            { name: "frame", tags: ["$initial"], priority: 2 },
            { name: "shared", test: /node_modules[\\/](@mantine|@floating-ui|@tanstack)|src[\\/]parts[\\/][^\\/]+$/, minShareCount: 2, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8642" } },
});
