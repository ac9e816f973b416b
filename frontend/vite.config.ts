import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { initialSize } from "./size";

const gateway = "http://127.0.0.1:8000";
const paths = [
  "/auth", "/emotion", "/events", "/gemma", "/gpu", "/health", "/jobs", "/queue", "/rag", "/transcription", "/v1", "/vault", "/version", "/voice",
];

export default defineConfig({
  plugins: [react(), initialSize()],
  // No inlined data: URLs: the content security policy allows scripts and styles from this origin only.
  build: { assetsInlineLimit: 0, target: "es2022" },
  server: { proxy: Object.fromEntries(paths.map((path) => [path, { target: gateway, ws: true }])) },
});
