"""S3 multipart uploads.

Each part is a block, and the metadata file lists the parts, so an upload survives a restart.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

from standins.lakefs import api_errors
from standins.lakefs.entries import Entry
from standins.lakefs.model import Core
from standins.lakefs.objects import Condition, LakeObjects
from standins.lakefs.request_bodies import RequestBody

MAX_PARTS = 10_000


@dataclass(frozen=True)
class Upload:
    """One upload in progress."""

    id: str
    repository: str
    branch: str
    path: str
    created: int
    content_type: str
    metadata: dict[str, str]

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Upload:
        """Build from an `uploads` row."""
        identity, repository, branch, path, created, kind, metadata = row
        return cls(identity, repository, branch, path, created, kind, json.loads(metadata))


@dataclass(frozen=True)
class Part:
    """One stored part; `md5` is in hex."""

    number: int
    address: str
    size: int
    md5: str
    created: int


class Multipart:
    """Starts, fills, completes and aborts multipart uploads."""

    def __init__(self, core: Core, objects: LakeObjects) -> None:
        self._core = core
        self._objects = objects

    def create(self, repository: str, branch: str, path: str, content_type: str, metadata: dict[str, str]) -> Upload:
        """Start an upload to a branch that accepts writes."""
        self._objects.check_writable(repository, branch)
        upload = Upload(uuid.uuid4().hex, repository, branch, path, self._core.now(), content_type, metadata)
        row = (upload.id, repository, branch, path, upload.created, content_type, json.dumps(metadata))
        with self._core.database.write() as connection:
            connection.execute("INSERT INTO uploads VALUES (?,?,?,?,?,?,?)", row)
        return upload

    def get(self, upload_id: str, repository: str, branch: str, path: str) -> Upload:
        """Return an upload.

        Raises:
            Refusal: 404 NoSuchUpload when there is no upload with this id for this key.
        """
        query = "SELECT * FROM uploads WHERE id = ?"
        row = self._core.database.reader().execute(query, (upload_id,)).fetchone()
        if row is None or tuple(row[1:4]) != (repository, branch, path):
            raise api_errors.not_found("upload not found", "NoSuchUpload")
        return Upload.of(row)

    def uploads(self, repository: str) -> list[Upload]:
        """Return the uploads in progress of a repository, sorted by key and age."""
        query = "SELECT * FROM uploads WHERE repository = ? ORDER BY branch, path, created, id"
        rows = self._core.database.reader().execute(query, (repository,)).fetchall()
        return [Upload.of(row) for row in rows]

    def parts(self, upload: Upload) -> dict[int, Part]:
        """Return the parts of an upload by number, in order."""
        query = "SELECT number, address, size, md5, created FROM parts WHERE upload = ? ORDER BY number"
        rows = self._core.database.reader().execute(query, (upload.id,)).fetchall()
        return {row[0]: Part(*row) for row in rows}

    def add(self, upload: Upload, number: int, body: RequestBody) -> Part:
        """Store a received body as a part; it replaces an earlier part of the same number.

        Raises:
            Refusal: 400 for a bad part number, 404 when the upload has ended in between.
        """
        if not 1 <= number <= MAX_PARTS:
            raise api_errors.bad_request(f"Part number must be an integer between 1 and {MAX_PARTS}", "InvalidArgument")
        address = body.keep(self._namespace(upload))
        part = Part(number, address, body.size, body.md5.hex(), self._core.now())
        replaced = "SELECT address FROM parts WHERE upload = ? AND number = ?"
        with self._core.database.write() as connection:
            alive = connection.execute("SELECT 1 FROM uploads WHERE id = ?", (upload.id,)).fetchone()
            earlier = connection.execute(replaced, (upload.id, number)).fetchone()
            if alive:
                row = (upload.id, number, address, part.size, part.md5, part.created)
                connection.execute("INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?)", row)
        if not alive:
            self._core.blocks.drop(address)
            raise api_errors.not_found("upload not found", "NoSuchUpload")
        if earlier:
            self._core.blocks.drop(earlier[0])
        return part

    def selected_parts(self, upload: Upload, wanted: list[tuple[int, str]]) -> list[Part]:
        """Return the parts that a completion names.

        Raises:
            Refusal: 400 MalformedXML, InvalidPart or InvalidPartOrder.
        """
        if not wanted:
            raise api_errors.bad_request("no parts given", "MalformedXML")
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise api_errors.bad_request("The list of parts was not in ascending order.", "InvalidPartOrder")
        stored = self.parts(upload)
        for number, etag in wanted:
            if number not in stored or (etag and etag != stored[number].md5):
                raise api_errors.bad_request("One or more of the specified parts could not be found.", "InvalidPart")
        return [stored[number] for number in numbers]

    def complete(self, upload: Upload, wanted: list[tuple[int, str]], condition: Condition | None) -> Entry:
        """Join the named parts into one block and stage the object.

        The ETag is the md5 of the parts' md5s, followed by `-N`. The object is staged before the
        upload's record is deleted, so after a crash in between the client can complete it again.
        """
        parts = self.selected_parts(upload, wanted)
        body = RequestBody(self._core.blocks)
        for part in parts:
            with self._core.blocks.open(part.address, 0) as source:
                body.copy(source, part.size)
        digest = hashlib.md5(b"".join(bytes.fromhex(part.md5) for part in parts), usedforsecurity=False).hexdigest()
        address = body.keep(self._namespace(upload))
        checksum = f"{digest}-{len(parts)}"
        entry = Entry(address, body.size, checksum, self._core.now(), upload.content_type, upload.metadata)
        self._objects.put(upload.repository, upload.branch, upload.path, entry, condition)
        self._delete(upload)
        return entry

    def abort(self, upload: Upload) -> None:
        """Delete an upload and its parts."""
        self._delete(upload)

    def _delete(self, upload: Upload) -> None:
        parts = self.parts(upload)
        with self._core.database.write() as connection:
            connection.execute("DELETE FROM uploads WHERE id = ?", (upload.id,))
        for part in parts.values():
            self._core.blocks.drop(part.address)

    def _namespace(self, upload: Upload) -> str:
        return self._objects.check_writable(upload.repository, upload.branch).namespace
