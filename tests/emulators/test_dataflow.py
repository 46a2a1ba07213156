"""Dataflow called by Beam's own runner in a separate process."""

import json

PIPELINE = """
    import sys
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    bucket, region, account, *projects = sys.argv[1:]
    for project in projects:
        options = PipelineOptions([
            "--runner=DataflowRunner", f"--project={project}", f"--region={region}", "--job_name=small",
            f"--temp_location=gs://{bucket}/dataflow/temp", f"--staging_location=gs://{bucket}/dataflow/staging",
            "--sdk_container_image=europe-west1-docker.pkg.dev/p/r/i@sha256:" + "1a" * 32, "--sdk_location=container",
            f"--service_account_email={account}", "--autoscaling_algorithm=THROUGHPUT_BASED", "--max_num_workers=3",
        ])
        pipeline = beam.Pipeline(options=options)
        pipeline | beam.Create([1, 2, 3]) | beam.Map(lambda number: number + 1)
        try:
            print("job", pipeline.run().job_id())
        except Exception as error:
            print("refused", str(error).splitlines()[0])
"""


def test_a_job_is_kept_with_its_limits_image_account_and_staged_files(cloud, run_client):
    others = f"another-project-{cloud.project}"
    refused, submitted = run_client(
        PIPELINE, cloud.bucket, cloud.region, cloud.account, others, cloud.project
    ).splitlines()

    assert refused.startswith("refused") and others in refused
    (job,) = cloud.dataflow.jobs.values()
    assert submitted == f"job {job['id']}"
    assert (job["name"], job["type"], job["location"]) == ("small", "JOB_TYPE_BATCH", cloud.region)
    environment = job["environment"]
    assert environment["serviceAccountEmail"] == cloud.account
    (pool,) = environment["workerPools"]
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 3}
    images = {image["containerImage"] for image in pool["sdkHarnessContainerImages"]}
    assert images == {f"europe-west1-docker.pkg.dev/p/r/i@sha256:{'1a' * 32}"}
    assert cloud.gcs.read(environment["sdkPipelineOptions"]["options"]["pipelineUrl"])
    assert {asked.principal for asked in cloud.asked("dataflow", "CreateJob")} == {cloud.account}


def test_workers_need_compute_engine_and_an_account_that_may_pull_their_image(cloud, run_client):
    cloud.apis.disabled.add("compute.googleapis.com")
    arguments = (cloud.bucket, cloud.region, cloud.account, cloud.project)
    assert "Compute Engine API" in run_client(PIPELINE, *arguments) and not cloud.dataflow.jobs

    cloud.apis.disabled.clear()
    for role in ("reader", "writer", "repoAdmin"):
        cloud.policies.revoke(f"projects/{cloud.project}", f"roles/artifactregistry.{role}", cloud.account)
    run_client(PIPELINE, *arguments)
    assert cloud.dataflow.ends == "JOB_STATE_FAILED" and "cannot pull the image" in cloud.dataflow.failure


def test_an_invalid_job_is_refused(cloud, run_client):
    program = """
        import json, sys
        import google.auth
        from google.auth.transport.requests import AuthorizedSession

        session = AuthorizedSession(google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])[0])
        url = f"https://dataflow.googleapis.com/v1b3/projects/{sys.argv[1]}/locations/europe-west1/jobs"
        for job in json.loads(sys.argv[2]):
            answer = session.post(url, json=job)
            print(answer.status_code, answer.json()["error"]["message"])
    """
    environment = {"tempStoragePrefix": f"storage.googleapis.com/{cloud.bucket}/temp"}
    missing = {"packages": [{"location": f"storage.googleapis.com/{cloud.bucket}/not-there"}]}
    jobs = [
        {"name": "x", "environment": environment, "surprise": 1},
        {"name": "Not A Name", "environment": environment},
        {"name": "x", "environment": {}},
        {"name": "x", "environment": environment | {"workerPools": [missing]}},
    ]
    lines = run_client(program, cloud.project, json.dumps(jobs)).splitlines()
    assert [line[:3] for line in lines] == ["400"] * 4
    assert "surprise" in lines[0] and "Not A Name" in lines[1] and "GCS path" in lines[2] and "not-there" in lines[3]
