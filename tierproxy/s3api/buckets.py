"""Operations on buckets, and ListBuckets."""

from __future__ import annotations

from tierproxy.s3api.body import read_document
from tierproxy.s3api.call import Answer, Call, Port, xml_answer
from tierproxy.s3api.documents import bucket_list, location, versioning
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import creatable_bucket_name
from tierproxy.s3api.tokens import read_token, write_token
from tierproxy.s3api.xmlio import parse_create_bucket

MAX_CONFIGURATION = 64 * 1024
MAX_BUCKETS = 10_000


async def list_buckets(port: Port, call: Call) -> Answer:
    """ListBuckets: those the key may read any of."""
    query = call.request.query
    prefix = query.get("prefix")
    limit = query.number("max-buckets", MAX_BUCKETS, least=1, most=MAX_BUCKETS)
    after = read_token(query.get("continuation-token"))
    found = [
        row
        for row in port.store.buckets()
        if row.name > after and row.name.startswith(prefix or "") and call.grants.sees(row.name)
    ]
    token = write_token(found[limit - 1].name) if len(found) > limit else None
    return xml_answer(bucket_list(found[:limit], prefix, token))


async def head_bucket(port: Port, call: Call) -> Answer:
    """HeadBucket."""
    port.store.bucket(call.request.bucket)
    return Answer(200, [(b"x-amz-bucket-region", port.listen.region.encode())])


async def get_bucket_location(port: Port, call: Call) -> Answer:
    """GetBucketLocation: the configured region."""
    port.store.bucket(call.request.bucket)
    return xml_answer(location(port.listen.region))


async def get_bucket_versioning(port: Port, call: Call) -> Answer:
    """GetBucketVersioning: never enabled. Clients ask before they delete."""
    port.store.bucket(call.request.bucket)
    return xml_answer(versioning())


async def create_bucket(port: Port, call: Call) -> Answer:
    """CreateBucket, where the configuration allows it."""
    name = call.request.bucket
    if not creatable_bucket_name(name):
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.")
    if (call.request.header("x-amz-object-ownership") or "BucketOwnerEnforced") != "BucketOwnerEnforced":
        raise S3Error("NotImplemented", "Access control lists are not supported.")
    region = parse_create_bucket(await read_document(call, limit=MAX_CONFIGURATION))
    if region is not None and region != port.listen.region:
        raise S3Error("InvalidLocationConstraint", f"The location must be {port.listen.region} or be left out.")
    await port.store.create_bucket(name)
    return Answer(200, [(b"location", f"/{name}".encode())])


async def delete_bucket(port: Port, call: Call) -> Answer:
    """DeleteBucket: only an empty one."""
    await port.store.delete_bucket(call.request.bucket)
    return Answer(204)
