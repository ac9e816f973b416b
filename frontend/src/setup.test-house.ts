/** Before each test file: the English words. */
import i18next from "i18next";
import { startWords } from "./i18n";

await startWords();
await i18next.changeLanguage("en");
