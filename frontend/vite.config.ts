import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const gateway = "http://127.0.0.1:8000";
const paths = ["/auth", "/transcription", "/rag", "/gemma", "/emotion", "/jobs", "/events", "/health", "/version"];

export default defineConfig({
  plugins: [react()],
  // No inlined data: URLs: the content security policy allows scripts and styles from this origin only.
  build: { assetsInlineLimit: 0, target: "es2022" },
  server: { proxy: Object.fromEntries(paths.map((path) => [path, gateway])) },
});
