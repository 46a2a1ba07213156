// What build.mjs writes into the bundles.

declare const APP_VERSION: string; // of package.json
declare const BUILD: string; // differs when any file of the page does
declare const LITERT: string; // folder of the runtime
declare const FILES: string[]; // what the page needs without a network, but for the runtime
declare const SAMPLES: string[]; // addresses of sample images
