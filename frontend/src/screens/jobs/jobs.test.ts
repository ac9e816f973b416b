import { expect, test } from "vitest";
import type { GpuStatus, Job } from "../../api/client";
import { bytes } from "../../format";
import { placeOf, retriable, sorted } from "./place";
import { readingOf, readings } from "./readings";

const job = (job_id: string, state: Job["state"], more: Partial<Job> = {}): Job => ({
  job_id, state, kind: "transcribe", attempt: 1, created_at: `2026-11-21T10:00:0${job_id}Z`, progress: { stage: "asr", percent: 0 }, ...more,
});

test("what moves comes first, then who waits longest, then the newest that ended", () => {
  const { open, ended } = sorted([
    job("1", "succeeded", { finished_at: "2026-11-21T10:05:00Z" }), job("2", "queued"), job("3", "queued"), job("4", "running"),
    job("5", "failed", { finished_at: "2026-11-21T10:09:00Z" }),
  ]);
  expect(open.map((each) => each.job_id)).toEqual(["4", "2", "3"]);
  expect(ended.map((each) => each.job_id)).toEqual(["5", "1"]);
});

test("a job that was begun and waits again gave way; what ended badly can go on", () => {
  expect(placeOf(job("1", "queued", { progress: { stage: "asr", percent: 40 } }))).toBe("parked");
  expect(placeOf(job("1", "queued"))).toBe("waiting");
  expect(placeOf(job("1", "dead"))).toBe("ended");
  expect((["failed", "dead", "cancelled", "running", "succeeded"] as const).map((state) => retriable(job("1", state)))).toEqual([true, true, true, false, false]);
});

const device = (device_id: string, kind: string) => ({ device_id, kind, memory_total_bytes: 100, memory_free_bytes: 30, reserve_bytes: 5, reserved_bytes: 20 });

test("a GPU tells what is free, a CPU what was promised", () => {
  const status = { devices: [device("gpu-0", "cuda"), device("cpu-0", "cpu")], holders: [], queue: {}, running: 0 } as unknown as GpuStatus;
  const reading = readingOf(status, 7);
  expect(readings([reading], "gpu-0")).toEqual([[7], [70]]);
  expect(readings([reading], "cpu-0")).toEqual([[7], [20]]);
  expect(readings([reading], "gone")).toEqual([[7], [0]]);
});

test("bytes as people read them", () => {
  expect([0, 999, 1500, 2_500_000, 1_540_000_000].map((size) => bytes(size).replace(/\s/g, " "))).toEqual(["0 byte", "999 byte", "2 kB", "2.5 MB", "1.5 GB"]);
});
