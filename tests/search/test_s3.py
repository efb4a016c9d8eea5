"""A store in S3, as a server of moto's on this machine plays it: alone, and by two Ray workers."""

import pytest

from percert.search import open_store

from .conftest import smooth_image
from .test_merging import alike
from .test_ray import answers_of


@pytest.fixture(scope="module")
def bucket():
    """The address of an empty bucket; Ray's workers are started in this environment."""
    boto3 = pytest.importorskip("boto3", reason="moto is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("flask_cors", reason="Flask is not installed")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT": address,
            "AWS_ALLOW_HTTP": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="percert")
        yield "s3://percert"
    running.stop()


def test_a_store_in_s3_answers_as_one_on_the_disk(bucket, tmp_path, weighted):
    images = [smooth_image(seed, (20, 30)) for seed in range(16)]
    asked = [images[3], images[9] * 0.95, smooth_image(99, (20, 30))]
    names = [str(at) for at in range(16)]
    here, there = (
        open_store(place, weighted(0)) for place in (str(tmp_path / "store"), f"{bucket}/alone")
    )
    for store in (here, there):
        store.add(images, names)
        store.remove(["5"])
    expected = answers_of(here, asked)
    again = open_store(f"{bucket}/alone", weighted(0))
    assert again.count == 15
    for _ in range(3):  # read, turned, kept
        assert all(map(alike, answers_of(again, asked), expected))
    assert again.verify(again=2).problems == []


def test_two_ray_workers_read_a_store_in_s3(bucket, weighted):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    images = [smooth_image(seed, (20, 30)) for seed in range(16)]
    asked = [images[3], images[9] * 0.95, smooth_image(99, (20, 30))]
    store = open_store(f"{bucket}/shared", weighted(0))
    store.add(images, [str(at) for at in range(16)])
    expected = answers_of(store, asked)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        with store.on_ray(workers=2, device="cpu") as there:
            assert len(there._engine.workers) == 2
            assert all(map(alike, answers_of(there, asked), expected))
            store.add([asked[2]], ["new"])
            assert there.search(asked[2:], 1)[0].results[0].id == "new"
    finally:
        ray.shutdown()
