import pytest

from promptfuse.cache.examples import read_dataset
from promptfuse.cache.keys import pack_keys
from promptfuse.errors import CacheError
from promptfuse.train.data.selection import choose_features, select
from promptfuse.train.settings import InputChoice

from ..small_cache import key_of, names_of, write_features, write_questions, write_sarcasm


def test_choose_features_names_the_missing_command(tmp_path):
    write_sarcasm(tmp_path)
    info = read_dataset(tmp_path, "jokes")
    keys = pack_keys([key_of(name) for name in names_of("train", 12)])
    with pytest.raises(CacheError, match="pfcli extract --modality video --dataset jokes"):
        choose_features(tmp_path, info, "video", keys, InputChoice())
    write_features(tmp_path, "video", names_of("train", 9), failed=("train9",))
    with pytest.raises(CacheError, match="lack 2 of 12 media: extraction has not finished"):
        choose_features(tmp_path, info, "video", keys, InputChoice())
    one = write_features(tmp_path, "video", names_of("train", 12), encoder="one")
    assert choose_features(tmp_path, info, "video", keys, InputChoice()).fingerprint == one
    two = write_features(tmp_path, "video", names_of("train", 12), encoder="two")
    with pytest.raises(CacheError, match=r"several video feature sets.*--features video="):
        choose_features(tmp_path, info, "video", keys, InputChoice())
    named = InputChoice(features={"video": two[:6]})
    assert choose_features(tmp_path, info, "video", keys, named).fingerprint == two


def test_a_set_is_chosen_by_the_field_that_is_read(tmp_path):
    write_questions(tmp_path)
    info, names = read_dataset(tmp_path, "shapes"), ["a", "b"]
    keys = pack_keys([key_of(name) for name in names])

    def chosen(field=None):
        read = InputChoice(fields={"image": field} if field else {})
        return choose_features(tmp_path, info, "image", keys, read).fingerprint

    usual = write_features(tmp_path, "image", names, kept=("pooler", "cls"))
    assert chosen("sequence") == usual  # what reads it says that it has no such field
    long = write_features(tmp_path, "image", names, kept=("sequence",))
    assert (chosen(), chosen("cls"), chosen("sequence")) == (usual, usual, long)
    both = write_features(tmp_path, "image", names, kept=("pooler", "sequence"))
    assert chosen() in (usual, both)
    write_features(tmp_path, "image", names, kept=("pooler",), encoder="other")
    with pytest.raises(CacheError, match=r"several image feature sets.*--features image="):
        chosen()
    assert chosen("cls") == usual


def test_by_default_every_modality_that_the_cache_holds(tmp_path):
    write_sarcasm(tmp_path, train=2, test=2)
    with pytest.raises(CacheError, match="holds no features of jokes; run: pfcli extract"):
        select(tmp_path, "jokes", "test", InputChoice())
    write_features(tmp_path, "video", ["test0"], failed=("test1",))
    selection = select(tmp_path, "jokes", "test", InputChoice())
    assert list(selection.features) == ["video"]
    assert selection.complete().tolist() == [0]
    with pytest.raises(CacheError, match="no audio features of jokes"):
        select(tmp_path, "jokes", "test", InputChoice(modalities=("video", "audio")))
    write_features(tmp_path, "audio", ["test0", "test1"])
    selection = select(tmp_path, "jokes", "test", InputChoice())
    assert list(selection.features) == ["video", "audio"]
