"""TensorFlow's record files without TensorFlow: frames with checksums, each holding an `Example` of named lists.

Frame: length (uint64), its masked CRC-32C, the payload, its masked CRC-32C, all little-endian
(https://www.tensorflow.org/tutorials/load_data/tfrecord). Payload: tensorflow/core/example/{example,feature}.proto.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from device.errors import TetradError

HEADER = struct.Struct("<QI")  # length of the payload, its checksum
CHECKSUM = struct.Struct("<I")  # of the payload

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


def read_frames(path: Path) -> Iterator[bytes]:
    """The payloads one after another. Raises TetradError naming the record that is cut or damaged."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number = 0
            while header := file.read(HEADER.size):
                whole = len(header) == HEADER.size
                length, checksum = HEADER.unpack(header.ljust(HEADER.size, b"\0"))
                if whole and checksum != masked_crc(header[:8]):
                    what = "it is no TFRecord, or damaged" if number == 0 else "it is damaged"
                    raise TetradError(f"{path}, record {number}: {what} there; get the file again")
                if not whole or file.tell() + length + CHECKSUM.size > size:
                    raise TetradError(f"{path}, record {number}: the file is cut there; get it again")
                payload = file.read(length)
                if CHECKSUM.unpack(file.read(CHECKSUM.size))[0] != masked_crc(payload):
                    raise TetradError(f"{path}, record {number}: it is damaged there; get the file again")
                yield payload
                number += 1
    except OSError as error:
        raise TetradError(f"cannot read {path}: {error.strerror}; give a .tfrecord file") from error
