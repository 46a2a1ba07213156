// The list of kept pictures, with the ways out of it: a zip file, the server's folder, deletion.

import { find, make, percent } from "./elements";
import { forget, type KeptPicture, list, upload, zip } from "./kept";

const shown: string[] = []; // addresses of the pictures in the list

/** Shows what is kept. `folder` is the server's for pictures without a label, if it has one. */
export async function showKept(folder: string | null): Promise<void> {
  const pictures = await list();
  for (const address of shown.splice(0)) URL.revokeObjectURL(address);
  find("kept-count").textContent = pictures.length ? String(pictures.length) : "";
  find("kept-empty").hidden = pictures.length > 0;
  find("kept-list").replaceChildren(...pictures.map((picture) => row(picture, folder)));
  find<HTMLButtonElement>("kept-export").hidden = pictures.length === 0;
  find<HTMLButtonElement>("kept-upload").hidden = pictures.length === 0 || folder === null;
}

export function startKept(folder: string | null): void {
  find("kept-export").onclick = async () => {
    const address = URL.createObjectURL(zip(await list()));
    make("a", { href: address, download: `unlabelled-${new Date().toISOString().slice(0, 10)}.zip` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  };
  find("kept-upload").onclick = async () => {
    const words = find("kept-words");
    try {
      const sent = await upload(await list(), folder ?? "");
      words.textContent = `${sent} sent; they are on the server now, and no longer here.`;
    } catch (error) {
      words.textContent = `Not all were sent to the server: ${(error as Error).message}. The others stay here.`;
    }
    await showKept(folder);
  };
}

function row(picture: KeptPicture, folder: string | null): Node {
  const address = URL.createObjectURL(new Blob([picture.data]));
  shown.push(address);
  const said = [
    picture.device && `device: ${opinion(picture.device)}`,
    picture.cloud && `server: ${opinion(picture.cloud)}`,
  ];
  const words = said.filter(Boolean).join(", ");
  const remove = make(
    "button",
    { type: "button", class: "quiet", "aria-label": `Delete the picture; ${words}` },
    "Delete",
  );
  remove.onclick = async () => {
    await forget(picture.name);
    await showKept(folder);
  };
  return make(
    "li",
    {},
    make("img", { src: address, alt: "", width: "48", height: "48" }),
    make("span", {}, words),
    remove,
  );
}

function opinion({ label, confidence }: { label: string; confidence: number }): string {
  return `${label} (${percent(confidence)})`;
}
