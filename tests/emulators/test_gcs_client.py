"""google-cloud-storage against the local Cloud Storage."""

import gzip
import io
import json
import os

import google.auth
import pytest
from google.api_core import exceptions
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

from tests.emulators.gcs.objects import Content, md5

MIB = 1 << 20
API = "https://storage.googleapis.com/storage/v1/b"


@pytest.fixture
def cloud(cloud_environment, monkeypatch):
    # The client retries without a delay.
    monkeypatch.setattr("google.resumable_media.requests._request_helpers.time.sleep", lambda seconds: None)
    return cloud_environment


@pytest.fixture
def client(cloud):
    with_client = storage.Client()
    yield with_client
    with_client.close()


@pytest.fixture
def bucket(cloud, client):
    return client.bucket(cloud.bucket)


@pytest.fixture
def session(cloud):
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    with AuthorizedSession(credentials) as session:
        yield session


def put(bucket, name, data=b"data", **options):
    blob = bucket.blob(name)
    blob.upload_from_string(data, **options)
    return blob


def names(bucket, **options):
    return [blob.name for blob in bucket.list_blobs(**options)]


def test_an_object_is_written_and_read(cloud, bucket):
    blob = bucket.blob("a/ä b?#%2F&.jpg")
    blob.metadata = {"label": "Käse \U0001f408"}
    blob.cache_control = "no-store"
    blob.upload_from_string(b"\0\r\n--bytes\r\n", content_type="image/jpeg", checksum="md5")

    again = bucket.get_blob("a/ä b?#%2F&.jpg")
    assert again.download_as_bytes(checksum="crc32c") == b"\0\r\n--bytes\r\n"
    assert (again.content_type, again.metadata, again.size) == ("image/jpeg", {"label": "Käse \U0001f408"}, 12)
    assert (again.cache_control, again.metageneration, again.generation) == ("no-store", 1, blob.generation)
    assert again.download_as_bytes(start=2, end=4) == b"\n--"
    assert bucket.get_blob("a/other") is None
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == ["a/ä b?#%2F&.jpg"]


def test_an_empty_object_and_an_empty_stream(bucket):
    assert put(bucket, "empty", b"").download_as_bytes() == b""
    bucket.blob("stream").upload_from_file(io.BytesIO(), size=None)
    assert bucket.get_blob("stream").size == 0


@pytest.mark.parametrize("kind", ["429", "503", "cut", "lose"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_large_upload_survives_a_lost_part(cloud, bucket, kind, nth):
    data = os.urandom(MIB + 12345)
    cloud.faults.add("storage", "objects.upload", nth=nth, kind=kind)
    blob = bucket.blob("large", chunk_size=512 * 1024)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0)

    assert cloud.gcs.read(f"gs://{cloud.bucket}/large") == data
    assert kind in [asked.fault for asked in cloud.asked("storage", "objects.upload")]


def test_a_stream_of_unknown_length(cloud, bucket):
    data = os.urandom(512 * 1024)
    with bucket.blob("stream").open("wb", chunk_size=256 * 1024) as stream:
        stream.write(data)
    assert cloud.gcs.read(f"gs://{cloud.bucket}/stream") == data
    assert bucket.blob("stream").open("rb", chunk_size=100_000).read() == data


def test_a_status_query_does_not_finish_an_upload(cloud, session):
    url = f"https://storage.googleapis.com/upload/storage/v1/b/{cloud.bucket}/o?uploadType=resumable&name=asked"
    place = session.post(url).headers["Location"]

    def send(content_range, data=b""):
        answer = session.put(place, data=data, headers={"Content-Range": content_range}, allow_redirects=False)
        return answer.status_code, answer.headers.get("Range")

    part = os.urandom(256 * 1024)
    assert send("bytes */1000000") == (308, None)
    assert send("bytes 0-262143/*", part) == (308, "bytes=0-262143")
    assert send("bytes */*") == send("bytes */262154") == (308, "bytes=0-262143")
    assert send("bytes 0-262143/*", part) == (308, "bytes=0-262143"), "the same bytes again"
    assert send("bytes 262144-262146/*", b"odd") == (308, "bytes=0-262143"), "only whole multiples are kept"
    assert send("bytes 300000-300001/*", b"gap")[0] == 400
    assert send("bytes 262144-262146/262154", b"more")[0] == 400
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == []
    assert send("bytes 262144-262153/262154", b"0123456789")[0] == 200
    assert send("bytes */262154")[0] == send("bytes */*")[0] == 200
    assert cloud.gcs.read(f"gs://{cloud.bucket}/asked") == part + b"0123456789"


def test_a_cancelled_upload_leaves_nothing(cloud, session):
    url = f"https://storage.googleapis.com/upload/storage/v1/b/{cloud.bucket}/o?uploadType=resumable&name=asked"
    place = session.post(url).headers["Location"]
    assert session.delete(place).status_code == 499
    assert session.put(place, data=b"late").status_code == 404
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == []


WRONG = (
    {"if_generation_match": 1},
    {"if_generation_match": 0},
    {"if_metageneration_match": 7},
    {"if_metageneration_not_match": 1},
)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_nothing_happens_unless_every_condition_holds(cloud, client, bucket, wrong):
    blob, other = put(bucket, "a", b"first"), put(bucket, "b", b"other")
    before = blob.generation
    source = {name.replace("if_", "if_source_"): value for name, value in wrong.items()}
    refused = pytest.raises(exceptions.PreconditionFailed)
    with refused:
        bucket.blob("a").delete(**wrong)
    with refused:
        bucket.blob("b").rewrite(blob, **wrong)
    with refused:
        blob.rewrite(other, **{**source, "if_source_generation_match": before + 1})
    with refused:
        bucket.copy_blob(blob, bucket, "c", **source)
    with refused:
        blob.patch(**wrong)
    if "if_metageneration_not_match" not in wrong:  # which this client misspells or does not support
        with refused:
            bucket.blob("a").upload_from_string(b"second", **wrong)
        with refused:
            bucket.blob("a").upload_from_file(io.BytesIO(b"2" * MIB), size=None, **wrong)
        with refused:
            bucket.blob("a").compose([other], **wrong)
        with refused:
            blob.download_as_bytes(**wrong)
        with refused:
            blob.reload(**wrong)
    assert names(bucket) == ["a", "b"]
    assert bucket.get_blob("a").generation == before and bucket.blob("a").download_as_bytes() == b"first"


def test_a_generation_that_the_client_has_is_not_sent_again(session, bucket, cloud):
    blob = put(bucket, "a")
    for condition in (f"ifGenerationNotMatch={blob.generation}", "ifMetagenerationNotMatch=1"):
        for url in (f"{API}/{cloud.bucket}/o/a?{condition}", f"{API}/{cloud.bucket}/o/a?alt=media&{condition}"):
            answer = session.get(url)
            assert answer.status_code == 304 and answer.content == b""
    assert session.delete(f"{API}/{cloud.bucket}/o/a?ifGenerationNotMatch={blob.generation}").status_code == 412


def test_calls_succeed_when_their_conditions_hold(cloud, session, bucket):
    blob = put(bucket, "a", if_generation_match=0)
    put(bucket, "a", b"second", if_generation_match=blob.generation, if_metageneration_match=1)
    with pytest.raises(exceptions.NotFound):
        blob.delete()  # the condition names the deleted generation
    now = bucket.get_blob("a")
    moved = session.post(
        f"{API}/{cloud.bucket}/o/a/moveTo/o/b%2Fc",
        params={"ifSourceGenerationMatch": now.generation, "ifGenerationMatch": 0},
    )
    assert moved.status_code == 200 and moved.json()["name"] == "b/c"
    assert names(bucket) == ["b/c"]
    bucket.blob("b/c").delete(if_generation_match=int(moved.json()["generation"]))
    assert names(bucket) == []


def test_a_move_is_atomic(cloud, session, bucket):
    blob, other = put(bucket, "a", b"new"), put(bucket, "b", b"old")

    def move(source="a", to="b", **conditions):
        return session.post(f"{API}/{cloud.bucket}/o/{source}/moveTo/o/{to}", params=conditions).status_code

    assert move(ifSourceGenerationMatch=1) == move(ifGenerationMatch=0) == move(ifSourceMetagenerationMatch=2) == 412
    assert move(ifSourceGenerationNotMatch=blob.generation) == move(ifMetagenerationMatch=9) == 412
    assert move(source="c") == 404 and move(to="a") == 400 and move(wrong=1) == 400
    assert cloud.gcs.read(f"gs://{cloud.bucket}/b") == b"old"
    assert move(ifGenerationMatch=other.generation, ifSourceGenerationMatch=blob.generation) == 200
    assert names(bucket) == ["b"] and bucket.blob("b").download_as_bytes() == b"new"
    assert move(ifSourceGenerationMatch=blob.generation) == 404


def test_objects_are_composed(bucket):
    parts = [put(bucket, f"part-{number}", b"%d," % number) for number in range(32)]
    whole = bucket.blob("whole")
    whole.content_type = "text/plain"
    whole.compose(parts, if_generation_match=0)
    assert whole.download_as_bytes() == b"".join(b"%d," % number for number in range(32))
    assert (whole.component_count, whole.md5_hash, whole.content_type) == (32, None, "text/plain")
    with pytest.raises(exceptions.BadRequest, match="33"):
        bucket.blob("more").compose([*parts, whole])
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts[:2], if_source_generation_match=[parts[0].generation, 1])
    with pytest.raises(exceptions.NotFound):
        bucket.blob("more").compose([bucket.blob("nothing")])


def test_objects_are_copied_with_their_properties(client, bucket):
    blob = bucket.blob("a")
    blob.metadata = {"label": "cat"}
    blob.upload_from_string(b"data", content_type="image/png")
    other = client.create_bucket("spanloop-other")
    copied = bucket.copy_blob(blob, other, "b")
    assert (copied.metadata, copied.content_type, copied.md5_hash) == (blob.metadata, "image/png", blob.md5_hash)
    replaced = bucket.blob("c")
    replaced.content_type = "image/jpeg"
    assert replaced.rewrite(blob) == (None, 4, 4)
    assert (replaced.metadata, replaced.content_type) == (None, "image/jpeg")
    renamed = bucket.rename_blob(blob, "d")
    assert renamed.metadata == {"label": "cat"} and names(bucket) == ["c", "d"]


def test_the_properties_of_an_object_change(bucket):
    blob = put(bucket, "a")
    blob.metadata = {"one": "1", "two": "2"}
    blob.patch()
    blob.metadata = {"two": None, "three": "3"}
    blob.patch(if_metageneration_match=2)
    again = bucket.get_blob("a")
    assert again.metadata == {"one": "1", "three": "3"}
    assert (again.metageneration, again.generation) == (3, blob.generation)


def test_a_list_comes_in_pages(cloud, bucket):
    for number in range(2500):
        cloud.gcs.put(f"gs://{cloud.bucket}/images/{number:04}", b"")
    cloud.gcs.put(f"gs://{cloud.bucket}/jmages", b"")
    assert names(bucket, prefix="images/") == [f"images/{number:04}" for number in range(2500)]
    assert len(cloud.asked("storage", "objects.list")) == 3
    assert names(bucket, prefix="images/", start_offset="images/2498") == ["images/2498", "images/2499"]
    assert names(bucket, start_offset="images/2", end_offset="images/2002") == ["images/2000", "images/2001"]
    assert len(names(bucket, max_results=7)) == 7
    assert len(names(bucket, match_glob="images/1*9")) == 100
    assert names(bucket, match_glob="**/{0000,249[89]}") == ["images/0000", "images/2498", "images/2499"]
    assert [blob.size for blob in bucket.list_blobs(fields="items(name),nextPageToken", max_results=1)] == [None]


def test_a_list_with_a_delimiter_shows_folders(bucket):
    for name in ("a", "b/", "b/1", "b/2/3", "b/2/4", "b2", "c/d/e"):
        put(bucket, name)

    def listed(**options):
        found = bucket.list_blobs(delimiter="/", **options)
        return [blob.name for blob in found], sorted(found.prefixes)

    assert listed() == (["a", "b2"], ["b/", "c/"])
    assert listed(page_size=1) == listed(page_size=2) == listed()
    assert listed(prefix="b/") == (["b/", "b/1"], ["b/2/"])
    assert listed(include_trailing_delimiter=True) == (["a", "b/", "b2"], ["b/", "c/"])
    assert listed(prefix="nothing") == ([], [])


def test_calls_in_a_batch_succeed_and_fail_alone(cloud, client, bucket):
    blobs = [put(bucket, name) for name in "abc"]
    with client.batch(raise_exception=False) as batch:
        blobs[0].delete()
        bucket.blob("nothing").delete()
        bucket.blob("b").delete(if_generation_match=1)
        bucket.copy_blob(blobs[2], bucket, "d/e f")
        blobs[1].metadata = {"some": "thing"}
        blobs[1].patch()
    assert [answer.status_code for answer in batch._responses] == [204, 404, 412, 200, 200]
    assert names(bucket) == ["b", "c", "d/e f"]
    assert bucket.get_blob("b").metadata == {"some": "thing"}
    # Calls in a batch appear in the log and meet faults like any others.
    assert [asked.status for asked in cloud.asked("storage", "objects.delete")] == [204, 404, 412]


def test_a_batch_has_at_most_100_calls(session, cloud):
    call = (
        b"--x\r\nContent-Type: application/http\r\nContent-ID: <%d+1>\r\n\r\nGET /storage/v1/b/no HTTP/1.1\r\n\r\n\r\n"
    )
    url, headers = "https://storage.googleapis.com/batch/storage/v1", {"Content-Type": "multipart/mixed; boundary=x"}
    answer = session.post(url, data=b"".join(call % number for number in range(100)) + b"--x--", headers=headers)
    assert answer.status_code == 200 and answer.text.count("404") >= 100
    assert "Content-ID: <response-0+1>" in answer.text and "Content-ID: <response-99+1>" in answer.text
    assert session.post(url, data=call % 1 * 101 + b"--x--", headers=headers).status_code == 400
    assert session.post(url, data=b"", headers=headers).status_code == 400


@pytest.mark.parametrize(
    "url, reason",
    [
        ("o?name=x&uploadType=media&ifGenerationMatch=none", "ifGenerationMatch"),
        ("o?name=x&uploadType=media&ifgenerationmatch=0", "ifgenerationmatch"),
        ("o?name=x&uploadType=media&predefinedAcl=private", "predefinedAcl"),
        ("o?name=x&uploadType=other", "uploadType"),
        ("o?uploadType=media", "Required"),
        ("o?name=a%0Ab&uploadType=media", "Invalid object name"),
        ("o?name=..&uploadType=media", "Invalid object name"),
        ("o?name=" + "x" * 1025 + "&uploadType=media", "too long"),
    ],
)
def test_an_invalid_upload_is_refused(cloud, session, url, reason):
    answer = session.post(f"https://storage.googleapis.com/upload/storage/v1/b/{cloud.bucket}/{url}", data=b"x")
    assert answer.status_code == 400 and reason in answer.json()["error"]["message"]
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == []


def test_a_name_may_hold_any_characters(bucket):
    for name in ("../x", "a/../b", "a//b", "/", " ", "a/./b", "~", "ä" * 512, "\U0001f408"):
        assert put(bucket, name, name.encode()).download_as_bytes() == name.encode()
        assert names(bucket) == [name]
        bucket.blob(name).delete()


@pytest.mark.parametrize(
    "query, reason",
    [
        ("fields=items(nam)", "nam"),
        ("fields=items(name", "bracket"),
        ("maxResults=0", "maxResults"),
        ("maxResults=many", "maxResults"),
        ("pageToken=!", "pageToken"),
        ("startoffset=a", "startoffset"),
    ],
)
def test_an_invalid_list_request_is_refused(cloud, session, query, reason):
    answer = session.get(f"{API}/{cloud.bucket}/o?{query}")
    assert answer.status_code == 400 and reason in answer.json()["error"]["message"]


def test_fields_select_parts_of_the_response(cloud, session, bucket):
    put(bucket, "a/b")
    put(bucket, "c")

    def fields(text, path="/o", **options):
        return session.get(f"{API}/{cloud.bucket}{path}", params={"fields": text, **options}).json()

    assert fields("items(name,size)") == {"items": [{"name": "a/b", "size": "4"}, {"name": "c", "size": "4"}]}
    assert fields("items/name,prefixes", delimiter="/") == {"items": [{"name": "c"}], "prefixes": ["a/"]}
    assert set(fields("nextPageToken", maxResults=1)) == {"nextPageToken"}
    assert fields("name,metageneration", "/o/c") == {"name": "c", "metageneration": "1"}
    assert fields("kind,name", "") == fields("name,kind", "") == {"kind": "storage#bucket", "name": cloud.bucket}


def test_wrong_checksums_are_refused(cloud, session):
    url = f"https://storage.googleapis.com/upload/storage/v1/b/{cloud.bucket}/o?name=x&uploadType="
    for headers in ({"X-Goog-Hash": "crc32c=AAAAAA=="}, {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}):
        assert session.post(url + "media", data=b"x", headers=headers).status_code == 400
    body = (
        b'--x\r\nContent-Type: application/json\r\n\r\n{"md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg=="}\r\n--x\r\n\r\nx\r\n--x--'
    )
    headers = {"Content-Type": "multipart/related; boundary=x"}
    assert session.post(url + "multipart", data=body, headers=headers).status_code == 400
    unknown = body.replace(b"md5Hash", b"md5hash")
    assert "md5hash" in session.post(url + "multipart", data=unknown, headers=headers).json()["error"]["message"]
    assert cloud.gcs.names(f"gs://{cloud.bucket}/") == []


def test_ranges(cloud, session, bucket):
    put(bucket, "digits", b"0123456789")
    put(bucket, "empty", b"")
    url = f"{API}/{cloud.bucket}/o/digits?alt=media"

    def get(wanted, url=url):
        answer = session.get(url, headers={"Range": wanted})
        return answer.status_code, answer.headers.get("Content-Range"), answer.content

    assert get("bytes=2-4") == (206, "bytes 2-4/10", b"234")
    assert get("bytes=8-") == get("bytes=-2") == get("bytes=8-99") == (206, "bytes 8-9/10", b"89")
    assert get("bytes=-99") == (206, "bytes 0-9/10", b"0123456789")
    assert get("bytes=10-")[:2] == get("bytes=10-20")[:2] == (416, "bytes */10")
    assert get("bytes=0-", url.replace("digits", "empty"))[:2] == (416, "bytes */0")
    assert get("lines=1-2") == (200, None, b"0123456789")


def test_buckets(cloud, client, session):
    made = client.create_bucket("spanloop-other", location="europe-west1")
    assert [bucket.name for bucket in client.list_buckets()] == ["spanloop-local", "spanloop-other"]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("spanloop-other")
    for wrong in ("ab", "Upper", "-a-b", "google-x", "goog-x", "1.2.3.4", "a" * 64):
        answer = session.post(API, params={"project": cloud.project}, json={"name": wrong})
        assert answer.status_code == 400 and wrong in answer.text
    put(made, "a")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        made.delete()
    made.blob("a").delete()
    made.delete()
    assert client.lookup_bucket("spanloop-other") is None
    with pytest.raises(exceptions.NotFound):
        put(made, "a")
    with pytest.raises(exceptions.NotFound):
        names(made)


def test_a_denied_permission_is_enforced_and_not_listed_as_granted(cloud, bucket):
    put(bucket, "a")
    wanted = ["storage.objects.create", "storage.objects.delete", "storage.objects.list"]
    assert bucket.test_iam_permissions(wanted) == wanted
    cloud.gcs.deny("storage.objects.delete", cloud.account)
    assert bucket.test_iam_permissions(wanted) == ["storage.objects.create", "storage.objects.list"]
    with pytest.raises(exceptions.Forbidden, match="storage.objects.delete"):
        bucket.blob("a").delete()
    with pytest.raises(exceptions.Forbidden, match="storage.objects.delete"):
        put(bucket, "a", b"replaced")
    put(bucket, "b")


def test_a_token_with_a_read_scope_cannot_write(cloud, bucket):
    put(bucket, "a")
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
    with AuthorizedSession(credentials) as session:
        assert session.get(f"{API}/{cloud.bucket}/o/a?alt=media").content == b"data"
        assert session.delete(f"{API}/{cloud.bucket}/o/a").status_code == 403
    assert names(bucket) == ["a"]


def test_the_cost_of_a_page_does_not_grow_with_the_bucket(cloud, session):
    def visited(query):
        before = cloud.gcs.store.visited
        assert session.get(f"{API}/{cloud.bucket}/o?{query}").status_code == 200
        return cloud.gcs.store.visited - before

    costs, empty = [], Content.of(b"")
    for count in (1_000, 100_000):
        for number in range(count):
            cloud.gcs.store.put(cloud.bucket, f"{number % 10}/{number:06}", empty)
        queries = ("maxResults=100", "delimiter=/", "prefix=7/&maxResults=100", "startOffset=5/&maxResults=100")
        costs.append([visited(query) for query in queries])
    assert costs[0] == costs[1] == [100, 10, 100, 100]


def test_buckets_are_saved_to_a_file_and_loaded(cloud, bucket, tmp_path):
    blob = put(bucket, "a/b")
    cloud.gcs.save(tmp_path / "buckets")
    cloud.reset()
    assert names(bucket) == []
    cloud.gcs.load(tmp_path / "buckets")
    assert bucket.get_blob("a/b").generation == blob.generation and names(bucket) == ["a/b"]


def test_a_token_that_has_expired_is_replaced(cloud, bucket):
    put(bucket, "a")
    cloud.faults.add("storage", "objects.insert", kind="expire")
    put(bucket, "a", b"again")
    assert [asked.status for asked in cloud.asked("storage", "objects.insert")] == [200, 401, 200]
    assert cloud.gcs.read(f"gs://{cloud.bucket}/a") == b"again"


def test_an_object_stored_as_gzip_is_decompressed_for_clients_that_do_not_accept_it(cloud, bucket, session):
    packed = gzip.compress(b"plain" * 100)
    blob = bucket.blob("packed")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed)
    for url in (f"{API}/{cloud.bucket}/o/packed?alt=media", f"https://storage.googleapis.com/{cloud.bucket}/packed"):
        plain = session.get(url, headers={"Accept-Encoding": "identity", "Range": "bytes=0-3"})
        assert (plain.status_code, plain.content) == (200, b"plain" * 100)
        assert "Content-Length" not in plain.headers and "Content-Encoding" not in plain.headers
        accepted = session.get(url, headers={"Accept-Encoding": "gzip"}, stream=True)
        assert accepted.raw.read(decode_content=False) == packed and accepted.headers["Content-Encoding"] == "gzip"
    assert blob.download_as_bytes() == b"plain" * 100 and blob.download_as_bytes(raw_download=True) == packed
    blob.cache_control = "no-transform"
    blob.patch()
    assert "Content-Encoding" in session.get(url, headers={"Accept-Encoding": "identity"}, stream=True).headers


def test_retention_and_holds_keep_objects_and_versions_outlive_them(cloud, client, bucket):
    held = put(bucket, "held")
    held.temporary_hold = True
    held.patch()
    for change in (held.delete, lambda: put(bucket, "held")):
        with pytest.raises(exceptions.Forbidden, match="active Temporary hold"):
            change()
    bucket.reload()
    bucket.retention_period = 3600
    bucket.patch()
    kept = put(bucket, "kept")
    with pytest.raises(exceptions.Forbidden, match="retention policy"):
        kept.delete()

    bucket.retention_period = None
    bucket.versioning_enabled = True
    bucket.patch()
    old = kept.generation
    put(bucket, "kept", b"newer")
    bucket.blob("kept").delete()
    assert names(bucket, prefix="kept") == []
    assert names(bucket, prefix="kept", versions=True) == ["kept", "kept"]
    assert bucket.blob("kept", generation=old).download_as_bytes() == b"data"
    bucket.blob("kept", generation=old).delete()
    assert names(bucket, prefix="kept", versions=True) == ["kept"]


def test_etags_are_preconditions(cloud, bucket, session):
    blob = put(bucket, "a")
    url = f"{API}/{cloud.bucket}/o/a"
    etag = session.get(url).json()["etag"]
    assert session.get(url, headers={"If-Match": etag}).status_code == 200
    assert session.get(url, headers={"If-None-Match": etag}).status_code == 304
    for call in (session.get, session.delete):
        assert call(url, headers={"If-Match": "another"}).status_code == 412
    assert blob.exists() and session.delete(url, headers={"If-Match": etag}).status_code == 204


@pytest.mark.parametrize(
    "glob, found",
    [
        ("**/foobar", ["foo/foobar", "foobar"]),
        ("foo**bar", ["foo/bar", "foo/foobar", "foobar"]),
        ("foo*bar", ["foobar"]),
        ("**/{foobar,baz}", ["foo/baz", "foo/foobar", "foobar"]),
    ],
)
def test_two_stars_match_any_number_of_folders(bucket, glob, found):
    for name in ("foo/bar", "foo/baz", "foo/foobar", "foobar"):
        put(bucket, name)
    assert names(bucket, match_glob=glob) == found


def test_uploads_as_gsutil_makes_them(cloud, session):
    about = {"name": "small", "contentType": "image/png"}
    lines = ["--==", "Content-Type: application/json", "", json.dumps(about), "--==", "Content-Type: image/png", ""]
    body = "\r\n".join([*lines, "data", "--==--", ""])
    quoted = {"Content-Type": "multipart/related; boundary='=='"}
    host = "https://storage.googleapis.com"
    small = session.post(f"{host}/upload/storage/v1/b/{cloud.bucket}/o?uploadType=multipart", data=body, headers=quoted)
    assert small.status_code == 200 and cloud.gcs.read(f"gs://{cloud.bucket}/small") == b"data"

    start = f"{host}/resumable/upload/storage/v1/b/{cloud.bucket}/o?uploadType=resumable&name=large"
    for header in ({"X-Goog-Hash": f"md5={md5(b'data')}"}, {"Content-MD5": md5(b"data")}):
        place = session.post(start, headers=header).headers["Location"]
        assert session.put(place, data=b"other").status_code == 400
        place = session.post(start, headers=header).headers["Location"]
        assert session.put(place, data=b"data").status_code == 200
