"""Prints the tokens of AWS IAM that botocore signs: each line of standard input has the parts of one, with its time."""

import datetime
import sys
from urllib.parse import urlencode

import botocore.auth
from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.model import ServiceId
from botocore.signers import RequestSigner

emitter = HierarchicalEmitter()
for line in sys.stdin:
    service, cluster, user, region, kind, key, secret, session, at = line.split()
    now = datetime.datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda: now
    credentials = Credentials(key, secret, None if session == "-" else session)
    signer = RequestSigner(ServiceId(service), region, service, "v4", credentials, emitter)
    query = {"Action": "connect", "User": user}
    if kind == "serverless":
        query["ResourceType"] = "ServerlessCache"
    url = f"https://{cluster}/?{urlencode(query)}"
    request = {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}}
    token = signer.generate_presigned_url(request, "connect", 900, region)
    print(line.strip(), token.removeprefix("https://"))
