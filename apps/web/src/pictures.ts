// Pictures as files: what is sent to the server and kept is a JPEG or PNG, whatever the browser could show.

const LARGEST = 1_000_000; // bytes that are sent as they are: Vertex AI takes requests of 1.5 MB, and base64 adds a third
const LONGEST_SIDE = 1024; // pixels of a picture that had to be made smaller

/** Returns the picture itself if it is a JPEG or PNG of moderate size, and otherwise a JPEG of it. */
export async function forServer(picture: Blob): Promise<Blob> {
  return isPlain(picture) && picture.size <= LARGEST ? picture : await jpeg(picture, LONGEST_SIDE);
}

/** Returns the picture itself if it is a JPEG or PNG, and otherwise a JPEG in full size. */
export async function forKeeping(picture: Blob): Promise<Blob> {
  return isPlain(picture) ? picture : await jpeg(picture, Number.POSITIVE_INFINITY);
}

function isPlain(picture: Blob): boolean {
  return picture.type === "image/jpeg" || picture.type === "image/png";
}

async function jpeg(picture: Blob, longest: number): Promise<Blob> {
  const bitmap = await createImageBitmap(picture);
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  draw(canvas, bitmap);
  bitmap.close();
  return await encoded(canvas);
}

/** Draws a picture or a frame of the camera on a canvas, on white. */
export function draw(canvas: HTMLCanvasElement, image: CanvasImageSource): void {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no canvas");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
}

export async function encoded(canvas: HTMLCanvasElement): Promise<Blob> {
  const made = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  if (!made) throw new Error("the picture is too large for this browser");
  return made;
}
