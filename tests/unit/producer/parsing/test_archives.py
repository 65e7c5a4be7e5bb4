"""Archives: damage is a typed error, other kinds are named, and memory use is bounded."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ConfigurationError, RejectedRecord
from common.settings import REPO
from producer.parsing.archives import Limits
from producer.parsing.source_files import batches, open_source

ROW = "{},87648.21000000,0.08185000,5723703861,5723703862,1767225600039409,True,True\n"
CSV = "".join(ROW.format(number) for number in range(3800397495, 3800397495 + 2000)).encode()
REST = b'{"a":7,"p":"0.5","q":"23.0","f":9,"l":9,"T":1570752011620,"m":true,"M":true}'
MIB = 1 << 20


def zipped(members, method=zipfile.ZIP_DEFLATED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


ZIP = zipped({"a.csv": CSV})
GZIP = gzip.compress(CSV, mtime=0)


def file_of(tmp_path, content, name="BTCUSDT-aggTrades-2026-01-01.zip"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def count(path, limits=None):
    return sum(len(lines) for lines, _ in batches(open_source(path, limits=limits)))


def refusal(tmp_path, content, limits=None):
    with pytest.raises(RejectedRecord) as caught:
        open_source(file_of(tmp_path, content), limits=limits)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [ZIP, GZIP, CSV, zipped({"a.csv": CSV}, zipfile.ZIP_STORED), zipped({"a.csv.gz": GZIP}),
     GZIP + b"\0" * 600, gzip.compress(CSV[: len(CSV) // 2]) + b"\0\0" + gzip.compress(CSV[len(CSV) // 2 :]),
     zipped({"folder/": b"", "folder/a.csv": CSV, "__MACOSX/folder/._a.csv": b"\0mac", "folder/.DS_Store": b"\0"})],
)  # fmt: skip
def test_whole_files_give_every_line(tmp_path, content):
    assert count(file_of(tmp_path, content)) == 2000


@pytest.mark.parametrize(
    ("content", "message_part"),
    [
        (b"\x28\xb5\x2f\xfd" + b"\0" * 50, "zstd -d"),
        (lzma.compress(CSV), "xz -dk"),
        (bz2.compress(CSV), "bzip2 -dk"),
        (zipped({"a.csv": CSV}, zipfile.ZIP_BZIP2), "bzip2"),
        (zipped({"a.csv": CSV}, zipfile.ZIP_LZMA), "lzma"),
        (zipped({"a.csv": CSV, "b.csv": CSV}), "'a.csv', 'b.csv'"),
        (zipped({f"{number}.csv": b"1" for number in range(9)}), "was 9: '0.csv'"),
        (zipped({}), "was 0: none"),
        (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "a spreadsheet"),
        (zipped({"a.csv.xz": lzma.compress(CSV)}), "xz -dk"),
        (b"PAR1" + b"\0" * 50, "Parquet"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 50, "xls"),
        (b"\n <!doctype html><html>blocked</html>", "web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "XML"),
        (b"\0\1\2\3" * 100, "binary data"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path, content, message_part):
    error = refusal(tmp_path, content)
    assert error.reason == "unknown_format"
    assert message_part in str(error) + error.next_command
    assert error.safe == "Nothing was sent."


def with_flag(flag):
    """Return the zip with a flag set in both headers of its member."""
    body = bytearray(ZIP)
    body[6] |= flag
    body[body.rindex(b"PK\x01\x02") + 8] |= flag
    return bytes(body)


def with_method(method):
    body = bytearray(ZIP)
    body[8:10] = body[body.rindex(b"PK\x01\x02") + 10 :][:2] = struct.pack("<H", method)
    at = body.rindex(b"PK\x01\x02") + 10
    body[at : at + 2] = struct.pack("<H", method)
    return bytes(body)


def with_wrong_crc():
    body = bytearray(ZIP)
    at = body.rindex(b"PK\x01\x02") + 16
    for place in (14, at):
        body[place] ^= 0xFF
    return bytes(body)


@pytest.mark.parametrize(
    ("content", "reason", "message_part"),
    [
        (ZIP[: len(ZIP) // 2], "truncated", "whole zip"),
        (ZIP[:-10], "truncated", "whole zip"),
        (with_wrong_crc(), "truncated", "CRC"),
        (with_flag(0x1), "unknown_format", "password"),
        (with_method(9), "unknown_format", "deflate64"),
        (with_method(93), "unknown_format", "93"),
        (GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:], "truncated", "incorrect data check"),
        (GZIP[:-4] + b"\1\0\0\0", "truncated", "incorrect length check"),
        (GZIP[:2000] + b"\xff" * 400 + GZIP[2400:], "truncated", "gzip"),
        (GZIP + b"trailing", "truncated", "header"),
        (GZIP[:5], "truncated", "end mark"),
        (zipped({"a.csv.gz": GZIP[:2000] + b"\xff" * 400 + GZIP[2400:]}), "truncated", "gzip"),
    ],
)
def test_damaged_archives_are_refused_whole(tmp_path, content, reason, message_part):
    error = refusal(tmp_path, content)
    assert error.reason == reason
    assert message_part in str(error)


def test_gzip_that_ends_too_early_is_read_to_its_end(tmp_path):
    source = open_source(file_of(tmp_path, GZIP[:-2000]))
    line_counts = []
    with pytest.raises(RejectedRecord, match="truncated"):
        line_counts.extend(len(lines) for lines, _ in batches(source))
    assert 0 < sum(line_counts) < 2000


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=st.sampled_from([ZIP, GZIP, zipped({"a.csv.gz": GZIP})]), data=st.data())
def test_any_damage_gives_a_typed_error_or_lines(tmp_path, whole, data):
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        change = data.draw(st.binary(min_size=0, max_size=8))
        body[at : at + data.draw(st.integers(0, 16))] = change
        if not body:
            return
    path = file_of(tmp_path, bytes(body))
    with suppress(RejectedRecord, ConfigurationError):
        count(path)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"{", b"[", b"\xef\xbb\xbf"]),
    rest=st.binary(max_size=300),
)
def test_any_bytes_give_a_typed_error_or_lines(tmp_path, start, rest):
    with suppress(RejectedRecord, ConfigurationError):
        count(file_of(tmp_path, start + rest))


@pytest.mark.parametrize(
    ("content", "limits", "setting"),
    [
        (GZIP, Limits(unpacked_bytes=1000), "REPLAY_MAX_UNPACKED_BYTES"),
        (ZIP, Limits(unpacked_bytes=1000), "REPLAY_MAX_UNPACKED_BYTES"),
        (CSV, Limits(lines=1999), "REPLAY_MAX_LINES"),
        (CSV, Limits(line_bytes=50), "REPLAY_MAX_LINE_BYTES"),
        (CSV + b"1" * 400_000, Limits(line_bytes=300_000), "REPLAY_MAX_LINE_BYTES"),
        (b"[" + b",".join([REST] * 100) + b"]", Limits(document_bytes=1000), "REPLAY_MAX_DOCUMENT_BYTES"),
    ],
)
def test_limits_name_their_setting(tmp_path, content, limits, setting):
    error = refusal(tmp_path, content, limits)
    assert error.reason == "over_limit"
    assert setting in error.next_command
    assert setting in str(error)


def test_incomplete_json_documents_are_refused(tmp_path):
    assert count(file_of(tmp_path, b"[" + b", \n".join([REST] * 5000) + b" ]\n")) == 5000
    assert refusal(tmp_path, b"[" + b",".join([REST] * 50)).reason == "truncated"
    assert refusal(tmp_path, b"[" + REST + b"," + REST[:-1] + b"\xff}]").reason in ("invalid_json", "not_utf8")
    assert refusal(tmp_path, b"[" * 100_000).reason in ("invalid_json", "truncated", "unknown_format")


def gzip_bomb(first=b""):
    """Return 256 MiB of newlines as gzip, in 256 KiB."""
    packer = zlib.compressobj(9, wbits=31)
    member = b"".join(packer.compress(b"\n" * MIB) for _ in range(256)) + packer.flush()
    return (gzip.compress(first) if first else b"") + member


def zip_bomb(first=b"", byte=b"\n"):
    """Return a zip of one file of 256 MiB."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as member:
        member.write(first)
        for _ in range(256):
            member.write(byte * MIB)
    return target.getvalue()


CHILD = """
import resource, sys
from pathlib import Path
from producer.parsing.archives import Limits
from producer.parsing.source_files import batches, open_source
from common.errors import RejectedRecord
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source = open_source(Path(sys.argv[1]), limits=Limits(ratio=int(sys.argv[2])))
    print(sum(len(lines) for lines, _ in batches(source)))
except RejectedRecord as error:
    print(error.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def in_child(path, ratio):
    """Read a file in a process of its own; return its output and the MiB by which it grew."""
    command = [sys.executable, "-c", CHILD, str(path), str(ratio)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    result, grown = done.stdout.split()
    return result, int(grown)


@pytest.mark.parametrize(
    ("make", "ratio", "expected"),
    [
        (zip_bomb, 200, "over_limit"),
        (gzip_bomb, 200, "over_limit"),
        (lambda: gzip_bomb(ROW.format(1).encode()), 1_000_000, "1"),
        (lambda: zip_bomb(ROW.format(1).encode()), 1_000_000, "1"),
        (lambda: zip_bomb(ROW.format(1).encode(), b"1"), 1_000_000, "over_limit"),
    ],
    ids=["zip", "gzip", "gzip allowed", "zip allowed", "one endless line"],
)
def test_a_file_that_unpacks_a_thousandfold_costs_no_memory(tmp_path, make, ratio, expected):
    result, grown_mib = in_child(file_of(tmp_path, make()), ratio)
    assert result == expected
    assert grown_mib < 64
