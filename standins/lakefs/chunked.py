"""The `aws-chunked` body encoding.

Each chunk is `<hex size>[;chunk-signature=<sig>]CRLF <data> CRLF`; a zero chunk and trailers
follow.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple
Chunks" in the Amazon S3 API reference. Data is passed on as it arrives. A signature is checked when
its chunk is complete, so a wrong chunk fails the upload before anything is stored.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator

from aiohttp import StreamReader

from standins.lakefs import api_errors
from standins.lakefs.sigv4 import VerifiedRequest, signature_mismatch

MAX_LINE_BYTES = 4096
PIECE_BYTES = 1 << 18


def is_streaming(payload: str) -> bool:
    """Return whether an `x-amz-content-sha256` announces this encoding."""
    return payload.startswith("STREAMING-")


class ChunkedReader:
    """Decodes one aws-chunked body.

    Args:
        source: The HTTP body.
        signed: The verified request; its payload value says whether chunks are signed and trailers
            follow.
    """

    def __init__(self, source: StreamReader, signed: VerifiedRequest) -> None:
        self._source = source
        self._signed = signed
        self._is_signed = "-HMAC-SHA256-" in signed.payload
        self._previous = signed.signature
        self.trailers: dict[str, str] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the data.

        Raises:
            Refusal: 403 for a wrong chunk signature, 400 for a malformed or incomplete body.
        """
        while True:
            size, signature = _parse_head(await self._line())
            digest = hashlib.sha256()
            left = size
            while left:
                data = await self._source.read(min(left, PIECE_BYTES))
                if not data:
                    raise _incomplete()
                left -= len(data)
                if self._is_signed:
                    digest.update(data)
                yield data
            self._check_chunk(signature, digest.hexdigest())
            if size == 0:
                break
            if await self._line() != b"":
                raise _malformed()
        await self._read_trailers()

    async def _line(self) -> bytes:
        try:
            line = await self._source.readuntil(b"\n")
        except ValueError as error:
            raise _malformed() from error
        if not line.endswith(b"\r\n") or len(line) > MAX_LINE_BYTES:
            raise _malformed() if line.endswith(b"\n") else _incomplete()
        return line[:-2]

    def _check_chunk(self, signature: str, digest: str) -> None:
        if not self._is_signed:
            return
        expected = self._signed.chunk_signature(self._previous, digest)
        if not hmac.compare_digest(expected, signature):
            raise signature_mismatch()
        self._previous = expected

    async def _read_trailers(self) -> None:
        while line := await self._last_line():
            name, _, value = line.partition(b":")
            self.trailers[name.decode().lower()] = value.strip().decode()

    async def _last_line(self) -> bytes:
        """Return a trailer line; the closing empty line may be missing (pyarrow omits it)."""
        line = await self._source.readuntil(b"\n")
        return line.rstrip(b"\r\n")


def _parse_head(line: bytes) -> tuple[int, str]:
    size, _, extension = line.partition(b";")
    name, _, signature = extension.partition(b"=")
    if not size or size.strip(b"0123456789abcdefABCDEF"):
        raise _malformed()
    try:
        return int(size, 16), signature.decode("ascii") if name == b"chunk-signature" else ""
    except ValueError as error:
        raise _malformed() from error


def _malformed() -> api_errors.Refusal:
    return api_errors.bad_request("The aws-chunked body is malformed.", "InvalidRequest")


def _incomplete() -> api_errors.Refusal:
    return api_errors.bad_request("The body ended before its announced length.", "IncompleteBody")
