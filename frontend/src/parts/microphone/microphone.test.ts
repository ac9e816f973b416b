import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { shareOf } from "./level";

interface Told { pcm: ArrayBuffer; level: number; last: boolean }
interface Processor { process: (inputs: Float32Array[][]) => boolean; port: { onmessage: () => void } }

/** The worklet as the audio thread runs it: its own globals, one script. */
function capture(rateHz: number): { node: Processor; told: Told[] } {
  const told: Told[] = [];
  class Base { port = { onmessage: () => undefined, postMessage: (each: Told) => told.push(each) }; }
  let made: new () => Processor = undefined as never;
  const source = readFileSync(`${process.cwd()}/src/parts/microphone/capture.worklet.js`, "utf8");
  new Function("AudioWorkletProcessor", "registerProcessor", "sampleRate", source)(Base, (_: string, kind: typeof made) => (made = kind), rateHz);
  return { node: new made(), told };
}

function hear(rateHz: number, hz: number, seconds = 1): { samples: Int16Array; told: Told[] } {
  const { node, told } = capture(rateHz);
  const wave = Float32Array.from({ length: rateHz * seconds }, (_, at) => 0.5 * Math.sin((2 * Math.PI * hz * at) / rateHz));
  for (let at = 0; at < wave.length; at += 128) node.process([[wave.slice(at, at + 128)]]);
  node.port.onmessage();
  const samples = told.flatMap((each) => [...new Int16Array(each.pcm)]);
  return { samples: Int16Array.from(samples), told };
}

const loudness = (samples: Int16Array) => Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length) / 32768;

test.each([16_000, 44_100, 48_000, 96_000])("a tone of the voice comes through from %i Hz, as long and as loud", (rateHz) => {
  const { samples, told } = hear(rateHz, 1000);
  expect(Math.abs(samples.length - 16_000)).toBeLessThan(32);
  expect(loudness(samples)).toBeCloseTo(0.5 / Math.SQRT2, 2);
  expect(new Set(told.slice(0, -1).map((each) => each.pcm.byteLength))).toEqual(new Set([3200]));
  expect(told.at(-1)?.last).toBe(true);
  const middle = samples.slice(4000, 12_000);
  const crossings = middle.reduce((sum, each, at) => sum + Number(at > 0 && each >= 0 !== (middle[at - 1] as number) >= 0), 0);
  expect(Math.abs(crossings - 1000)).toBeLessThanOrEqual(2);
});

test("what 16 kHz cannot carry does not fold into the voice", () => {
  expect(loudness(hear(48_000, 11_000).samples)).toBeLessThan(0.002);
  expect(loudness(hear(44_100, 12_000).samples)).toBeLessThan(0.002);
});

test("two channels become one; what is too loud is cut, not wrapped", () => {
  const { node, told } = capture(16_000);
  for (let at = 0; at < 40; at++) node.process([[new Float32Array(128).fill(3), new Float32Array(128).fill(1)]]);
  expect(Math.max(...new Int16Array(told[1]?.pcm as ArrayBuffer))).toBe(32767);
  expect(Math.min(...new Int16Array(told[1]?.pcm as ArrayBuffer))).toBe(32767);
});

test("the meter hears as people do", () => {
  expect([0, 0.001, 1].map(shareOf)).toEqual([0, 0, 1]);
  expect(shareOf(0.05)).toBeGreaterThan(0.4);
});
