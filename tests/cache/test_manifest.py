from dataclasses import replace
from pathlib import Path

import pytest

from promptfuse.cache.manifest import (
    FieldSpec,
    Manifest,
    read_manifest,
    write_manifest,
)
from promptfuse.cache.sealed import seal, unseal
from promptfuse.errors import CacheError, CacheVersionError


def edit(path: Path, **changes: object) -> None:
    path.write_bytes(seal({**unseal(path.read_bytes(), path), **changes}))


def test_what_is_written_is_read(tmp_path: Path, manifest: Manifest):
    write_manifest(tmp_path, manifest)
    found = read_manifest(tmp_path)
    assert found == manifest
    assert found.fingerprint == manifest.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_fingerprint_covers_what_decides_the_values_and_nothing_else(manifest: Manifest):
    same = replace(manifest, provenance={"host": "elsewhere"})
    assert same.fingerprint == manifest.fingerprint
    others = [
        replace(manifest, identity={**manifest.identity, "id": "other"}),
        replace(manifest, modality="image"),
        replace(manifest, fields=manifest.fields[:1]),
        replace(manifest, fields=(FieldSpec("pooler", "float32", (4,)), *manifest.fields[1:])),
    ]
    assert len({manifest.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_what_an_encoder_is_called_decides_nothing_where_its_weights_are_known(manifest: Manifest):
    weighed = {**manifest.identity, "weights_sha256": "ab" * 32, "revision": None}
    one = replace(manifest, identity=weighed)
    copy = replace(manifest, identity={**weighed, "id": "a copy", "revision": "f00"})
    other = replace(manifest, identity={**weighed, "weights_sha256": "cd" * 32})
    assert one.fingerprint == copy.fingerprint
    assert len({one.fingerprint, other.fingerprint, manifest.fingerprint}) == 3
    assert copy.identity["id"] == "a copy"


def test_a_set_is_found_by_the_fingerprints_that_it_had(tmp_path: Path, manifest: Manifest):
    moved = manifest.formerly(["0ff1ce", "cafe"]).formerly(["cafe"])
    write_manifest(tmp_path, moved)
    found = read_manifest(tmp_path)
    assert found.fingerprints == [manifest.fingerprint, "0ff1ce", "cafe"]
    assert found.is_called("0ff")
    assert found.is_called(manifest.fingerprint[:4])
    assert not found.is_called("ff")
    with pytest.raises(CacheError, match=r"provenance is .*an object was expected"):
        replace(manifest, provenance={"formerly": [1]})


def test_identity_is_held_as_json_gives_it_back():
    manifest = Manifest("image", {"size": (4, 4)}, (FieldSpec("cls", "float16", (2,)),))
    assert manifest.identity == {"size": [4, 4]}


def test_newer_version_names_both_and_says_what_to_do(tmp_path: Path, manifest: Manifest):
    write_manifest(tmp_path, manifest)
    edit(tmp_path / "manifest.json", schema_version=7, unknown="field")
    with pytest.raises(CacheVersionError, match=r"version 7, .* up to version 2; upgrade"):
        read_manifest(tmp_path)


def test_edited_manifest_is_refused(tmp_path: Path, manifest: Manifest):
    write_manifest(tmp_path, manifest)
    edit(tmp_path / "manifest.json", identity={"id": "forged"})
    with pytest.raises(CacheError, match=rf"says fingerprint '{manifest.fingerprint}'"):
        read_manifest(tmp_path)


def test_a_changed_letter_is_noticed(tmp_path: Path, manifest: Manifest):
    write_manifest(tmp_path, manifest)
    path = tmp_path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"0.1.0"', b'"0.1.1"'))
    with pytest.raises(CacheError, match="does not give the checksum"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1]", r"must be an object, not \[1\]"),
        ("{}", "schema_version is None"),
        ('{"schema_version": 1, "modality": "image"}', "not a manifest .*identity"),
    ],
)
def test_what_is_not_a_manifest_is_named(tmp_path: Path, content: str, message: str):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(CacheError, match=message):
        read_manifest(tmp_path)


def test_absent_manifest_names_the_command(tmp_path: Path):
    with pytest.raises(CacheError, match=r"manifest\.json: no such file; run: pfcli extract"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "message"),
    [
        ("Pooler", "float16", (4,), "'Pooler' is not a field name"),
        ("pooler", "bfloat16", (4,), "unknown dtype 'bfloat16'"),
        ("pooler", "float16", (4, 0), r"shape \(4, 0\) has an empty axis"),
    ],
)
def test_bad_fields_are_refused(name: str, dtype: str, shape: tuple[int, ...], message: str):
    with pytest.raises(CacheError, match=message):
        FieldSpec(name, dtype, shape)


def test_fields_are_named_once_and_unknown_ones_list_the_rest(manifest: Manifest):
    with pytest.raises(CacheError, match=r"got \['pooler', 'pooler'\]"):
        replace(manifest, fields=manifest.fields[:1] * 2)
    with pytest.raises(CacheError, match="hold pooler, frames, pixels, samples, count, not 'cls'"):
        manifest.field("cls")
    with pytest.raises(CacheError, match=r"'\.\./x' is not a modality"):
        replace(manifest, modality="../x")
