// What is computed of a picture before the device model sees it. The rule, and the same in Python:
// pipeline/device/input.py. The browser decodes and turns the picture, and everything after that is done here, because
// `drawImage` resizes by a filter that differs from one browser to the next.

/** The `input` of a manifest: what the device model takes. */
export interface InputSpec {
  shape: [number, number, number, number]; // 1, height, width, channels: 3 for colour, 1 for grey
  dtype: string;
  range: [number, number];
  resize: string;
  background: [number, number, number]; // red, green, blue behind transparent pixels
}

const GREY = [0.2989, 0.587, 0.114]; // ITU-R BT.601, as tf.image.rgb_to_grayscale rounds it
const STRIP = 1 << 20; // pixels that are read at a time: a phone has no canvas for 48 megapixels, but for this

/** Converts an encoded picture to float32 [height, width, channels] in [0, 1]. Rejects for what is no picture. */
export async function pixels(picture: Blob, spec: InputSpec): Promise<Float32Array> {
  const [, height, width, channels] = spec.shape;
  // upright by EXIF, which is the default; without the colour profile, as training sees it
  const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  try {
    const resized = resize(strips(bitmap), bitmap.width, bitmap.height, width, height, spec.background);
    const output = new Float32Array(height * width * channels);
    for (let pixel = 0; pixel < height * width; pixel++) {
      const colours = resized.subarray(3 * pixel, 3 * pixel + 3);
      if (channels === 3)
        output.set(
          colours.map((level) => level / 255),
          3 * pixel,
        );
      else output[pixel] = GREY.reduce((sum, share, channel) => sum + share * (colours[channel] ?? 0), 0) / 255;
    }
    return output;
  } finally {
    bitmap.close();
  }
}

/** Yields the rows of a picture from top to bottom: RGBA, as many at a time as a small canvas holds. */
function* strips(bitmap: ImageBitmap): Generator<Uint8ClampedArray> {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = Math.max(1, Math.min(bitmap.height, Math.floor(STRIP / bitmap.width)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("this browser has no canvas");
  for (let top = 0; top < bitmap.height; top += canvas.height) {
    const rows = Math.min(canvas.height, bitmap.height - top);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, top, bitmap.width, rows, 0, 0, bitmap.width, rows);
    yield context.getImageData(0, 0, bitmap.width, rows).data;
  }
  canvas.width = canvas.height = 0; // Safari keeps the memory otherwise
}

/** What input pixels add to an output pixel: `weights` for those from number `first` on. They sum to 1. */
interface Taps {
  first: number;
  weights: Float64Array;
}

/** Returns the taps of each of `to` output pixels in a row of `from` input pixels: a triangle, as wide as the scale. */
export function taps(from: number, to: number): Taps[] {
  const scale = from / to;
  const reach = Math.max(1, scale);
  return Array.from({ length: to }, (_, pixel) => {
    const centre = (pixel + 0.5) * scale;
    const first = Math.max(0, Math.ceil(centre - reach - 0.5));
    const last = Math.min(from - 1, Math.floor(centre + reach - 0.5));
    const weights = Float64Array.from({ length: last - first + 1 }, (_, tap) =>
      Math.max(0, 1 - Math.abs(first + tap + 0.5 - centre) / reach),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Resizes rows of RGBA to float64 [toHeight, toWidth, 3] in 0 to 255, antialiased, on the background. */
function resize(
  strips: Iterable<Uint8ClampedArray>,
  width: number,
  height: number,
  toWidth: number,
  toHeight: number,
  background: readonly number[],
): Float64Array {
  const across = taps(width, toWidth);
  const down = taps(height, toHeight);
  const output = new Float64Array(toHeight * toWidth * 3);
  const narrow = new Float64Array(toWidth * 3);
  let y = 0;
  let open = 0; // the first output row that rows from y on still add to
  for (const strip of strips) {
    for (let start = 0; start < strip.length; start += 4 * width, y++) {
      shrink(strip, start, across, background, narrow);
      for (let line = open; line < toHeight; line++) {
        const { first, weights } = down[line] as Taps;
        if (first > y) break;
        const weight = weights[y - first];
        if (weight === undefined) {
          open = line + 1;
          continue;
        }
        for (let to = line * narrow.length, from = 0; from < narrow.length; from++, to++) {
          output[to] = (output[to] as number) + weight * (narrow[from] as number);
        }
      }
    }
  }
  return output;
}

/**
 * Resizes one row of RGBA, which begins at `start`, to RGB. What a pixel adds is its difference to the background times
 * its opacity: the weights of an output pixel sum to 1.
 */
function shrink(
  strip: Uint8ClampedArray,
  start: number,
  across: readonly Taps[],
  background: readonly number[],
  narrow: Float64Array,
): void {
  const [behindRed, behindGreen, behindBlue] = background as [number, number, number];
  let to = 0;
  for (const { first, weights } of across) {
    let red = behindRed;
    let green = behindGreen;
    let blue = behindBlue;
    let from = start + 4 * first;
    for (let tap = 0; tap < weights.length; tap++, from += 4) {
      const weight = ((weights[tap] as number) * (strip[from + 3] as number)) / 255;
      red += weight * ((strip[from] as number) - behindRed);
      green += weight * ((strip[from + 1] as number) - behindGreen);
      blue += weight * ((strip[from + 2] as number) - behindBlue);
    }
    narrow[to++] = red;
    narrow[to++] = green;
    narrow[to++] = blue;
  }
}
