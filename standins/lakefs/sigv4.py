"""AWS Signature Version 4, server side: headers, presigned queries, and the chain of signed chunks.

Source: "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API reference. As in
the real gateway, any region is accepted in the credential; the service must be s3.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, unquote_to_bytes

from standins.lakefs import api_errors
from standins.lakefs.service import KeyPair

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_SKEW = timedelta(minutes=15)
MAX_EXPIRES_S = 604_800


@dataclass(frozen=True)
class VerifiedRequest:
    """One verified request, with the values that later checks of chunks and payload need.

    `payload` is the signed `x-amz-content-sha256`.
    """

    payload: str
    date: str
    scope: str
    signing_key: bytes
    signature: str

    def chunk_signature(self, previous: str, data_sha256: str) -> str:
        """Return the signature of a chunk that follows `previous`."""
        lines = ["AWS4-HMAC-SHA256-PAYLOAD", self.date, self.scope, previous, EMPTY_SHA256, data_sha256]
        return _hex_hmac(self.signing_key, "\n".join(lines))


@dataclass(frozen=True)
class RawRequest:
    """The signed parts of an HTTP request; `raw_path` and `raw_query` are exactly as sent."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Claim:
    """What the client claims to have signed."""

    access_key_id: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    date: str
    payload: str
    query: list[tuple[str, str]]


def verify(request: RawRequest, keys: KeyPair, now: datetime) -> VerifiedRequest:
    """Check a request's signature.

    Raises:
        Refusal: 403 AccessDenied without a signature, InvalidAccessKeyId, SignatureDoesNotMatch,
            RequestTimeTooSkewed; 400 when it is malformed.
    """
    query = parse_query(request.raw_query)
    is_presigned = any(name == "X-Amz-Algorithm" for name, _ in query)
    claim = _presigned(query, now) if is_presigned else _from_header(request.headers, query, now)
    if not hmac.compare_digest(claim.access_key_id.encode(), keys.access_key_id.encode()):
        message = "The access key ID you provided does not exist in our records."
        raise api_errors.forbidden(message, "InvalidAccessKeyId")
    key = _signing_key(keys.secret_access_key, claim.scope)
    digest = hashlib.sha256(_canonical(request, claim).encode()).hexdigest()
    expected = _hex_hmac(key, "\n".join([ALGORITHM, claim.date, claim.scope, digest]))
    if not hmac.compare_digest(expected, claim.signature):
        raise signature_mismatch()
    return VerifiedRequest(claim.payload, claim.date, claim.scope, key, claim.signature)


def signature_mismatch() -> api_errors.Refusal:
    """Return the 403 of a wrong signature."""
    message = "The request signature we calculated does not match the signature you provided."
    return api_errors.forbidden(f"{message} Check your key and signing method.", "SignatureDoesNotMatch")


def parse_query(raw: str) -> list[tuple[str, str]]:
    """Return decoded (name, value) pairs; "+" is a plus sign, as in S3's canonical form."""
    pairs = (part.partition("=") for part in raw.split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _canonical(request: RawRequest, claim: _Claim) -> str:
    path = quote(unquote_to_bytes(request.raw_path), safe="/-_.~")
    query = "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in claim.query))
    headers = "".join(f"{name}:{_header(request.headers, name)}\n" for name in claim.signed_headers)
    return "\n".join([request.method, path, query, headers, ";".join(claim.signed_headers), claim.payload])


def _header(headers: Mapping[str, str], name: str) -> str:
    values = headers.getall(name, []) if hasattr(headers, "getall") else [headers.get(name, "")]
    return ",".join(" ".join(str(value).split()) for value in values)


def _scope_parts(credential: str) -> tuple[str, str]:
    access_key_id, *parts = credential.split("/")
    if len(parts) < 4 or parts[-2:] != ["s3", "aws4_request"]:
        raise api_errors.bad_request("The authorization header is malformed.", "AuthorizationHeaderMalformed")
    # An access key id may contain slashes; the scope is always the last four parts.
    extra = parts[:-4]
    return "/".join([access_key_id, *extra]), "/".join(parts[-4:])


def _from_header(headers: Mapping[str, str], query: list[tuple[str, str]], now: datetime) -> _Claim:
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    if not scheme:
        raise api_errors.forbidden("Access Denied.")
    if scheme != ALGORITHM:
        raise _missing_fields() if scheme == "AWS" else api_errors.forbidden("Access Denied.")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise _missing_fields()
    access_key_id, scope = _scope_parts(fields["Credential"])
    date = headers.get("X-Amz-Date", "")
    if abs(_instant(date) - now) > MAX_SKEW:
        message = "The difference between the request time and the server's time is too large."
        raise api_errors.forbidden(message, "RequestTimeTooSkewed")
    if not date.startswith(scope.split("/")[0]):
        raise api_errors.bad_request("Invalid credential date.", "AuthorizationHeaderMalformed")
    signed_headers = tuple(fields["SignedHeaders"].split(";"))
    payload = headers.get("X-Amz-Content-Sha256", UNSIGNED)
    return _Claim(access_key_id, scope, signed_headers, fields["Signature"], date, payload, query)


def _missing_fields() -> api_errors.Refusal:
    return api_errors.bad_request("Missing fields in request.", "MissingFields")


def _presigned(query: list[tuple[str, str]], now: datetime) -> _Claim:
    fields = dict(query)
    needed = {"X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"}
    if fields["X-Amz-Algorithm"] != ALGORITHM or not needed <= fields.keys():
        raise api_errors.bad_request(
            "The query-string authentication is malformed.", "AuthorizationQueryParametersError"
        )
    expires = fields["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdigit()) or int(expires) > MAX_EXPIRES_S:
        raise api_errors.bad_request("X-Amz-Expires must be 0 to 604800", "AuthorizationQueryParametersError")
    signed_at = _instant(fields["X-Amz-Date"])
    if now > signed_at + timedelta(seconds=int(expires)):
        raise api_errors.forbidden("Request has expired")
    if signed_at > now + MAX_SKEW:
        raise api_errors.forbidden("Request is not valid yet")
    access_key_id, scope = _scope_parts(fields["X-Amz-Credential"])
    rest = [(name, value) for name, value in query if name != "X-Amz-Signature"]
    headers = tuple(fields["X-Amz-SignedHeaders"].split(";"))
    return _Claim(access_key_id, scope, headers, fields["X-Amz-Signature"], fields["X-Amz-Date"], UNSIGNED, rest)


def _instant(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise api_errors.bad_request("AWS authentication requires a valid x-amz-date", "AccessDenied") from error


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _hex_hmac(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()
