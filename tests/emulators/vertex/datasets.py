"""DatasetService: image datasets, imported from and exported to a bucket."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1 as types
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import status_pb2
from grpc import StatusCode

from tests.emulators.services import Caller, Refused, Rpc
from tests.emulators.vertex import names
from tests.emulators.vertex.import_file import SCHEMA, Invalid, Item, parsed
from tests.emulators.vertex.names import Names, invalid
from tests.emulators.vertex.operations import Operations

if TYPE_CHECKING:
    from tests.emulators.cloud import Cloud

SERVICE = "google.cloud.aiplatform.v1.DatasetService"
IMAGES = "gs://google-cloud-aiplatform/schema/dataset/metadata/image_1.0.0.yaml"
SYSTEM_LABEL = "aiplatform.googleapis.com/dataset_metadata_schema"
MOST_FAILURES = 20  # partial failures listed: google/cloud/aiplatform/v1/operation.proto


class Datasets:
    """Datasets by name, and the items of each by the digest of their bytes.

    `most_images` and `most_labels` are limits of a dataset: https://cloud.google.com/vision/automl/quotas
    """

    def __init__(self, cloud: "Cloud", given: Names, operations: Operations):
        self._cloud, self._names, self._operations = cloud, given, operations
        self._lock = operations.lock
        self._ids, self._changes = itertools.count(7000), itertools.count(1)
        self.reset()

    def reset(self) -> None:
        self.datasets: dict[str, types.Dataset] = {}
        self.items: dict[str, dict[str, Item]] = {}
        self.most_images, self.most_labels = 1_000_000, 5_000

    def rpcs(self) -> dict[str, Rpc]:
        operation = operations_pb2.Operation
        return {
            f"/{SERVICE}/CreateDataset": Rpc(types.CreateDatasetRequest, operation, self.create),
            f"/{SERVICE}/GetDataset": Rpc(types.GetDatasetRequest, types.Dataset, self.get),
            f"/{SERVICE}/ListDatasets": Rpc(types.ListDatasetsRequest, types.ListDatasetsResponse, self.list_datasets),
            f"/{SERVICE}/DeleteDataset": Rpc(types.DeleteDatasetRequest, operation, self.delete),
            f"/{SERVICE}/ImportData": Rpc(types.ImportDataRequest, operation, self.import_data),
            f"/{SERVICE}/ExportData": Rpc(types.ExportDataRequest, operation, self.export_data),
        }

    def find(self, name: str, caller: Caller) -> types.Dataset:
        return self._names.find(self.datasets, name, "datasets", caller)

    def create(self, request: types.CreateDatasetRequest, caller: Caller) -> operations_pb2.Operation:
        self._names.demand(caller, "datasets.create")
        parent = self._names.parent(request.parent, caller)
        dataset = types.Dataset(request.dataset)
        names.check_display_name(dataset.display_name)
        names.check_labels(dataset.labels)
        names.check_key(dataset, parent)
        if dataset.metadata_schema_uri != IMAGES:
            text = f"dataset.metadata_schema_uri {dataset.metadata_schema_uri!r}: the local server supports {IMAGES}."
            raise Refused(StatusCode.UNIMPLEMENTED, text)
        dataset.name = f"{parent}/datasets/{next(self._ids)}"

        def work() -> types.Dataset:
            dataset.create_time = names.now()
            dataset.labels[SYSTEM_LABEL] = "IMAGE"
            self.datasets[dataset.name], self.items[dataset.name] = dataset, {}
            return self._changed(dataset)

        return self._operations.start(dataset.name, types.CreateDatasetOperationMetadata(), work)

    def _changed(self, dataset: types.Dataset) -> types.Dataset:
        dataset.update_time, dataset.etag = names.now(), f"AMEw9y{next(self._changes)}"
        dataset.data_item_count = len(self.items[dataset.name])
        return types.Dataset(dataset)

    def get(self, request: types.GetDatasetRequest, caller: Caller) -> types.Dataset:
        with self._lock:
            return types.Dataset(self.find(request.name, caller))

    def list_datasets(self, request: types.ListDatasetsRequest, caller: Caller) -> types.ListDatasetsResponse:
        parent = self._names.parent(request.parent, caller)
        with self._lock:
            found = [types.Dataset(each) for name, each in self.datasets.items() if name.startswith(f"{parent}/")]
        return names.selected(found, request, "datasets", types.ListDatasetsResponse)

    def delete(self, request: types.DeleteDatasetRequest, caller: Caller) -> operations_pb2.Operation:
        with self._lock:
            dataset = self.find(request.name, caller)

            def work() -> empty_pb2.Empty:
                self.datasets.pop(dataset.name, None)
                self.items.pop(dataset.name, None)
                return empty_pb2.Empty()

            return self._operations.start(dataset.name, types.DeleteOperationMetadata(), work)

    # Import

    def import_data(self, request: types.ImportDataRequest, caller: Caller) -> operations_pb2.Operation:
        self._names.demand(caller, "datasets.import")
        with self._lock:
            dataset = self.find(request.name, caller)
            if not request.import_configs:
                raise invalid("List of found errors: 1. Field: import_configs; Message: Required.")
            for config in request.import_configs:
                self._check_import(config)
            metadata = types.ImportDataOperationMetadata()
            configs = list(request.import_configs)
            return self._operations.start(dataset.name, metadata, lambda: self._import(dataset, configs, metadata))

    def _check_import(self, config: types.ImportDataConfig) -> None:
        if config.import_schema_uri != SCHEMA:
            raise invalid(f"import_schema_uri {config.import_schema_uri!r}: the local server supports {SCHEMA}.")
        names.check_labels(config.data_item_labels)
        if not config.gcs_source.uris:
            raise invalid("List of found errors: 1. Field: import_configs.gcs_source.uris; Message: Required.")
        for uri in config.gcs_source.uris:
            self._names.bucket(uri, "import_configs.gcs_source.uris")
            if not uri.endswith(".jsonl"):
                raise Refused(StatusCode.UNIMPLEMENTED, f"{uri}: the local server imports only JSON lines.")

    def _import(
        self, dataset: types.Dataset, configs: list[types.ImportDataConfig], metadata: types.ImportDataOperationMetadata
    ) -> types.ImportDataResponse:
        """Imports what it can; fails when that is nothing, and lists the lines that it cannot."""
        items, failures = self.items[dataset.name], []
        labels = {item.label for item in items.values()}
        imported = 0
        for config in configs:
            for where, line in self._lines(config):
                try:
                    item = parsed(line, self._read)
                    if len(labels | {item.label}) > self.most_labels:
                        raise Invalid(f"{item.label!r} is one label more than a dataset may have.")
                    self._add(items, item, config)
                    labels.add(item.label)
                    imported += 1
                except Invalid as error:
                    failures.append(status_pb2.Status(code=3, message=f"{where}: {error}"))
        plain = types.ImportDataOperationMetadata.pb(metadata)
        plain.generic_metadata.partial_failures.extend(failures[:MOST_FAILURES])
        self._changed(dataset)
        if not imported:
            first = failures[0].message if failures else "The import files are empty."
            raise invalid(f"There are no items to import. {first}")
        return types.ImportDataResponse()

    def _add(self, items: dict[str, Item], item: Item, config: types.ImportDataConfig) -> None:
        """Adds an item, or merges it into the one with equal bytes, as documented at ImportDataConfig.

        Stricter than documented: a second label of an image is invalid, since each image has one.
        """
        digest = hashlib.sha256(item.image).hexdigest()
        labels = {**config.data_item_labels, **item.resource_labels}
        if before := items.get(digest):
            if {before.label, item.label} - {""} - {before.label or item.label}:
                raise Invalid(f"{item.uri} has the label {item.label!r}, and {before.label!r} as {before.uri}.")
            label = before.label or item.label
            items[digest] = before._replace(label=label, resource_labels={**before.resource_labels, **labels})
        elif len(items) >= self.most_images:
            raise Invalid(f"{item.uri} is one image more than a dataset may have.")
        else:
            items[digest] = item._replace(resource_labels=labels)

    def _lines(self, config: types.ImportDataConfig) -> Iterator[tuple[str, bytes]]:
        for uri in config.gcs_source.uris:
            data = self._read(uri)
            if data is None:
                raise Refused(StatusCode.NOT_FOUND, f"File not found: {uri}")
            for number, line in enumerate(data.splitlines(), 1):
                if line.strip():
                    yield f"{uri}, line {number}", line

    def _read(self, uri: str) -> bytes | None:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        known = bucket in self._cloud.gcs.store.buckets and name in self._cloud.gcs.names(uri)
        return self._cloud.gcs.read(uri) if known else None

    # Export

    def export_data(self, request: types.ExportDataRequest, caller: Caller) -> operations_pb2.Operation:
        self._names.demand(caller, "datasets.export")
        prefix = request.export_config.gcs_destination.output_uri_prefix
        self._names.bucket(prefix, "export_config.gcs_destination")
        with self._lock:
            dataset = self.find(request.name, caller)
            time = f"{names.now():%Y-%m-%dT%H:%M:%S.%fZ}"
            name = re.sub(r"[^\w-]", "_", dataset.display_name)
            metadata = types.ExportDataOperationMetadata(
                gcs_output_directory=f"{prefix.rstrip('/')}/export-data-{name}-{time}"
            )
            return self._operations.start(dataset.name, metadata, lambda: self._export(dataset, metadata))

    def _export(self, dataset: types.Dataset, metadata: types.ExportDataOperationMetadata) -> types.ExportDataResponse:
        """Writes the items as an import file into the folder of their annotations' schema."""
        lines = [
            {
                "imageGcsUri": item.uri,
                **({"classificationAnnotation": {"displayName": item.label}} if item.label else {}),
                "dataItemResourceLabels": dict(item.resource_labels),
            }
            for item in self.items[dataset.name].values()
        ]
        file = f"{metadata.gcs_output_directory}/image_classification/data-00001-of-00001.jsonl"
        self._cloud.gcs.put(file, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
        return types.ExportDataResponse(exported_files=[file])
