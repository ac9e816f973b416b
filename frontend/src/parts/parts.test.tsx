import { IconHome } from "@tabler/icons-react";
import { cleanup, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import { EmotionBadge } from "./EmotionBadge";
import { EmptyState } from "./EmptyState";
import { show } from "./house.test-house";
import { Progress } from "./Progress";
import { SpeakerBadge } from "./SpeakerBadge";
import { Trouble } from "./Trouble";
import { undoable, undoableLater } from "./UndoToast";

afterEach(cleanup);

test("an empty state has a name and a way on", async () => {
  show(<EmptyState icon={IconHome} title="Nothing" text="Bring something"><button>Bring</button></EmptyState>);
  expect(await screen.findByRole("heading", { name: "Nothing" })).toBeTruthy();
  expect(screen.getByRole("button", { name: "Bring" })).toBeTruthy();
});

test("trouble speaks only when there is some", async () => {
  show(<><Trouble why={null} /><Trouble what="No upload" why="The disk is full."><button>Again</button></Trouble></>);
  const [quiet, loud] = await screen.findAllByRole("alert");
  expect(quiet?.textContent).toBe("");
  expect(loud?.textContent).toBe("No uploadThe disk is full.Again");
});

test("progress tells stage, share and time left", async () => {
  const { container } = show(<Progress label="Progress of a" percent={42} stage="asr" etaS={30} />);
  await screen.findByRole("progressbar", { name: "Progress of a" });
  expect(container.textContent).toBe("Writing down what was said42% · about 30 s left");
});

test("a speaker has a letter or a number beside the colour", async () => {
  show(<><SpeakerBadge label="SPEAKER_01" /><SpeakerBadge label="SPEAKER_02" name="Özil" /></>);
  await screen.findByText("Speaker 2");
  expect([...document.querySelectorAll(".speaker-mark")].map((mark) => mark.textContent)).toEqual(["2", "Ö"]);
});

test("an uncertain emotion says so, an unknown one keeps its name", async () => {
  show(<><EmotionBadge label="joy" confidence={0.3} /><EmotionBadge label="joy" confidence={0.9} /><EmotionBadge label="awe" /></>);
  await screen.findByText("perhaps joy");
  expect([...document.querySelectorAll(".emotion")].map((badge) => badge.textContent)).toEqual(["perhaps joy", "joy", "awe"]);
});

test("what was done is taken back by a click", async () => {
  show(<p>page</p>);
  await screen.findByText("page");
  const undo = vi.fn(async () => undefined);
  await undoable({ message: "Forgotten", action: async () => undefined, undo });
  fireEvent.click(await screen.findByRole("button", { name: "Undo" }));
  await waitFor(() => expect(undo).toHaveBeenCalledOnce());
});

test("an action that fails says why and offers no undo", async () => {
  show(<p>page</p>);
  await screen.findByText("page");
  await undoable({ message: "Merged", action: () => Promise.reject(new Error("These are two people.")), undo: async () => undefined });
  await screen.findByText("These are two people.");
  expect(screen.queryByText("Merged")).toBeNull();
});

test("what cannot be taken back is done only once the toast has gone", async () => {
  show(<p>page</p>);
  await screen.findByText("page");
  const [commit, restore] = [vi.fn(async () => undefined), vi.fn()];
  undoableLater({ message: "First", hide: () => undefined, commit, restore });
  fireEvent.click(await screen.findByRole("button", { name: "Undo" }));
  await waitFor(() => expect(screen.queryByText("First")).toBeNull());
  expect([commit.mock.calls.length, restore.mock.calls.length]).toEqual([0, 1]);
  undoableLater({ message: "Second", hide: () => undefined, commit, restore });
  const toast = (await screen.findByText("Second")).closest("[role=alert]") as HTMLElement;
  fireEvent.click(within(toast).getByRole("button", { name: "Close" }));
  await waitFor(() => expect(commit).toHaveBeenCalledOnce());
});
