"""Serves the released model over HTTP, with the web client."""

import asyncio
import os

import click

from ci.outcome import Outcome, command
from ci.progress import log
from pipeline.config import Config

GROUP = "models"
FOLLOWS = 2.0  # seconds between two looks at the releases and at what was promoted


@command
@click.argument("tag", required=False)
@click.option("--device", is_flag=True, help="Serve the models for devices of the releases.")
@click.option("--host", help="Address to listen on: 127.0.0.1, or 0.0.0.0 where AIP_HTTP_PORT is set.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port: AIP_HTTP_PORT or 8080; 0 for any free one.")
@click.option("--page", type=click.Path(file_okay=False), help="Folder of the built web client: apps/web/dist.")
def serve(
    config: Config, tag: str | None, device: bool, host: str | None, port: int | None, page: str | None
) -> Outcome:
    """Serves a released model by HTTP, and the web client, until Ctrl-C or SIGTERM.

    TAG is a release. Without it the promoted one is served, at first the newest; one that is released later gets
    CANARY_TRAFFIC percent of the requests until `promote`. Where Vertex AI sets AIP_STORAGE_URI, the model there is
    served instead; of folders such as 1/ and 2/, as TensorFlow Serving takes them, the one with the largest number.

    Its limits are the settings SERVING_...: SERVING_HOSTS names the hosts that it answers for besides this machine's
    own, SERVING_UPLOADS lets clients send pictures that they found hard. See docs/serving.md.

    \b
    curl -d '{"instances": [{"b64": "..."}]}' http://127.0.0.1:8080/v1/models/classification:predict
    """
    from pipeline.serving.server.app import Place, Server
    from pipeline.serving.server.models import Address, DeviceReleases, Releases

    address = os.environ.get("AIP_STORAGE_URI", "")
    if address:
        source = Address(address, os.environ.get("AIP_DEPLOYED_MODEL_ID", ""))
    else:
        source = (DeviceReleases if device else Releases)(config, tag)
    follows = not address and not tag
    place = Place.of(os.environ, host, port, page)

    async def run() -> int:
        server = Server(config, source, place, log)

        def started(url: str) -> None:
            log(f"Serving at {url}{server.predict_path}; open {url}/ for the web client. Ctrl-C stops it.")

        await server.run(seconds=FOLLOWS if follows else None, started=started)
        return server.requests

    requests = asyncio.run(run())
    return Outcome(f"Stopped after {requests:,} requests.", requests=requests)
