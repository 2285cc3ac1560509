"""TensorFlow's record files without TensorFlow: frames with checksums, each holding an `Example` of named lists.

Frame: length (uint64), its masked CRC-32C, the payload, its masked CRC-32C, all little-endian
(https://www.tensorflow.org/tutorials/load_data/tfrecord). Payload: tensorflow/core/example/{example,feature}.proto.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from device.errors import TetradError

HEADER = struct.Struct("<QI")  # length of the payload, its checksum
CHECKSUM = struct.Struct("<I")  # of the payload
LENGTH_DELIMITED = b"\x0a"  # protobuf's tag of field 1 where its length follows
SKIPPED_BYTES = 1 << 13  # a feature as long as this is a sound: all else of a note takes some 600 bytes

# message: its fields in the order of their numbers, from 1, each with its type
SCHEMA = {
    "BytesList": {"value": Field.TYPE_BYTES},
    "FloatList": {"value": Field.TYPE_FLOAT},
    "Int64List": {"value": Field.TYPE_INT64},
    "Feature": {"bytes_list": "BytesList", "float_list": "FloatList", "int64_list": "Int64List"},  # one of them
    "Entry": {"key": Field.TYPE_STRING, "value": "Feature"},
    "Features": {"feature": "Entry"},  # a map's bytes are those of a list of entries
    "Example": {"features": "Features"},
}
LISTS = (("BytesList", "value"), ("FloatList", "value"), ("Int64List", "value"), ("Features", "feature"))


def _example_class() -> Any:
    """protobuf's class of an `Example`, in a pool of its own: TensorFlow, if loaded, has one of the same name."""
    file = FileDescriptorProto(name="example.proto", package="tetrad", syntax="proto3")
    for name, members in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, (member, kind) in enumerate(members.items(), 1):
            field = message.field.add(name=member, number=number, label=Field.LABEL_OPTIONAL)
            if (name, member) in LISTS:
                field.label = Field.LABEL_REPEATED
            if isinstance(kind, str):
                field.type, field.type_name = Field.TYPE_MESSAGE, f".tetrad.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tetrad.Example"))


Example = _example_class()


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as a serialized `Example`: numbers as int64, texts as bytes, float arrays as floats, lists of these."""
    example = Example()
    for key, value in sorted(record.items()):
        feature = example.features.feature.add(key=key).value
        if isinstance(value, np.ndarray):
            feature.float_list.value.extend(value.tolist())
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if values and isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:  # an empty list is one of texts: NSynth has no other that can be empty
            feature.bytes_list.value.extend(text.encode() for text in values)
    return example.SerializeToString(deterministic=True)


def decode(payload: bytes) -> dict[str, Any]:
    """Each feature as a list of int or str, or as float32 [n]. Raises ValueError where the payload is no `Example`."""
    try:
        example = Example.FromString(payload)
    except DecodeError as error:
        raise ValueError("no Example") from error
    record: dict[str, Any] = {}
    for entry in example.features.feature:
        feature = entry.value
        if feature.HasField("float_list"):
            record[entry.key] = np.array(feature.float_list.value, np.float32)
        elif feature.HasField("int64_list"):
            record[entry.key] = list(feature.int64_list.value)
        else:
            record[entry.key] = [value.decode() for value in feature.bytes_list.value]  # UnicodeDecodeError: ValueError
    return record


def masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    length = len(payload).to_bytes(8, "little")
    return b"".join((length, CHECKSUM.pack(masked_crc(length)), payload, CHECKSUM.pack(masked_crc(payload))))


def read_spans(path: Path) -> Iterator[tuple[int, int]]:
    """Where each payload begins in the file, and its length, by the headers alone: the payloads are not read.

    Raises TetradError naming the record that is cut, or whose header is damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number = start = 0
            while start < size:
                file.seek(start)
                header = file.read(HEADER.size)
                whole = len(header) == HEADER.size
                length, checksum = HEADER.unpack(header.ljust(HEADER.size, b"\0"))
                if whole and checksum != masked_crc(header[:8]):
                    what = "it is no TFRecord, or damaged" if number == 0 else "it is damaged"
                    raise TetradError(f"{path}, record {number}: {what} there; get the file again")
                start += HEADER.size + length + CHECKSUM.size
                if not whole or start > size:
                    raise TetradError(f"{path}, record {number}: the file is cut there; get it again")
                yield start - CHECKSUM.size - length, length
                number += 1
    except OSError as error:
        raise TetradError(f"cannot read {path}: {error.strerror}; give a .tfrecord file") from error


def checked(framed: bytes, length: int, what: str) -> bytes:
    """The payload of `length` bytes and its checksum, without the checksum, which is to be right."""
    payload = framed[:length]
    if len(framed) != length + CHECKSUM.size:
        raise TetradError(f"{what}: the file is cut there; get it again")
    if CHECKSUM.unpack(framed[length:])[0] != masked_crc(payload):
        raise TetradError(f"{what}: it is damaged there; get the file again")
    return payload


def read_frames(path: Path) -> Iterator[bytes]:
    """The payloads one after another. Raises TetradError naming the record that is cut or damaged."""
    try:
        with path.open("rb") as file:
            for number, (start, length) in enumerate(read_spans(path)):
                file.seek(start)
                yield checked(file.read(length + CHECKSUM.size), length, f"{path}, record {number}")
    except OSError as error:
        raise TetradError(f"cannot read {path}: {error.strerror}; give a .tfrecord file") from error


def read_short(file: BinaryIO, start: int, length: int) -> tuple[bytes, list[int]]:
    """A payload without its features of SKIPPED_BYTES or more, and the lengths of those, which are not read.

    The features may be in any order, as in a map. Raises ValueError where the payload is not built as one `Features`.
    """
    file.seek(start)
    end, kept, skipped = start + length, [], list[int]()
    inside = _read_length(file)
    if file.tell() + inside != end:
        raise ValueError("no Example")
    while (at := file.tell()) < end:
        size = _read_length(file)
        if file.tell() + size > end:
            raise ValueError("no Example")
        if size >= SKIPPED_BYTES:
            skipped.append(size)
            file.seek(size, os.SEEK_CUR)
            continue
        size += file.tell() - at
        file.seek(at)
        kept.append(file.read(size))
    features = b"".join(kept)
    return LENGTH_DELIMITED + _varint(len(features)) + features, skipped


def _read_length(file: BinaryIO) -> int:
    """Of a field with number 1 that has a length before it: the length, as a varint."""
    if file.read(1) != LENGTH_DELIMITED:
        raise ValueError("no Example")
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("no Example")


def _varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
