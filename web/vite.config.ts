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
  },
  server: { proxy: { "/api": "http://127.0.0.1:8642" } },
});
