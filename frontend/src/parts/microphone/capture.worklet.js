// In the audio thread: what the device gives becomes mono, 16 kHz, 16-bit little-endian, 100 ms a message.
// Band-limited by a windowed sinc (Smith, "Digital Audio Resampling", 2002): sound above 8 kHz would fold into the voice.
const OUT_HZ = 16000;
const FRAME = OUT_HZ / 10;
const ZEROS = 12; // zero crossings on each side of the middle
const PHASES = 160; // places between two samples: exact for 44.1 and 48 kHz
const ROLL_OFF = 0.94;

function kernels(ratio) {
  const cut = Math.min(1, 1 / ratio) * ROLL_OFF;
  const half = Math.ceil(ZEROS / cut);
  return Array.from({ length: PHASES + 1 }, (_, phase) =>
    Float32Array.from({ length: 2 * half }, (_, tap) => {
      const x = tap - half + 1 - phase / PHASES;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * Math.max(-half, Math.min(half, x))) / half);
      return cut * window * (x === 0 ? 1 : Math.sin(Math.PI * cut * x) / (Math.PI * cut * x));
    }),
  );
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ratio = sampleRate / OUT_HZ;
    this.kernels = kernels(this.ratio);
    this.half = this.kernels[0].length / 2;
    this.held = new Float32Array(this.half - 1); // silence before the first sample
    this.at = this.half - 1;
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.open = true;
    this.port.onmessage = () => this.end();
  }

  process([input]) {
    if (input && input.length > 0) this.take(mono(input));
    return this.open;
  }

  take(samples) {
    const all = new Float32Array(this.held.length + samples.length);
    all.set(this.held);
    all.set(samples, this.held.length);
    for (; Math.floor(this.at) + this.half < all.length; this.at += this.ratio) this.write(this.sample(all));
    const done = Math.max(0, Math.floor(this.at) - this.half + 1);
    this.held = all.slice(done);
    this.at -= done;
  }

  sample(all) {
    const base = Math.floor(this.at);
    const kernel = this.kernels[Math.round((this.at - base) * PHASES)];
    let sum = 0;
    for (let tap = 0; tap < kernel.length; tap++) sum += all[base - this.half + 1 + tap] * kernel[tap];
    return sum;
  }

  write(value) {
    this.frame[this.filled++] = Math.max(-1, Math.min(1, value)) * 32767;
    if (this.filled === FRAME) this.tell();
  }

  tell(last = false) {
    const frame = this.frame.slice(0, this.filled);
    let power = 0;
    for (const each of frame) power += each * each;
    const level = frame.length ? Math.sqrt(power / frame.length) / 32768 : 0;
    this.filled = 0;
    this.port.postMessage({ pcm: frame.buffer, level, last }, [frame.buffer]);
  }

  end() {
    this.open = false;
    this.tell(true);
  }
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, at) => channels.reduce((sum, each) => sum + each[at], 0) / channels.length);
}

registerProcessor("capture", Capture);
