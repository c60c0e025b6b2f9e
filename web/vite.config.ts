import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The daemon serves what is built, from the package; `npm run dev` asks one whose daemon_port is 8642.
export default defineConfig({
  plugins: [react()],
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
            { name: "shared", test: /node_modules[\\/](@mantine|@floating-ui|@tabler|@tanstack)|src[\\/]parts[\\/][^\\/]+$/, minShareCount: 2, priority: 1 },
          ],
        },
      },
    },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8642" } },
});
