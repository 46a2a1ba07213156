// The camera: a live view in the page, of which a picture is taken.

import { draw, encoded } from "./pictures";

export class Camera {
  private stream: MediaStream | null = null;

  constructor(private readonly view: HTMLVideoElement) {}

  get isOpen(): boolean {
    return this.stream !== null;
  }

  /** Opens the camera at the back, if there are two. Rejects when there is none, or the user refuses. */
  async open(): Promise<void> {
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    this.view.srcObject = this.stream;
    await this.view.play();
  }

  close(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.view.srcObject = null;
  }

  /** Returns what the camera sees now, as JPEG. */
  async take(): Promise<Blob> {
    const canvas = document.createElement("canvas");
    canvas.width = this.view.videoWidth;
    canvas.height = this.view.videoHeight;
    draw(canvas, this.view);
    return await encoded(canvas);
  }
}
