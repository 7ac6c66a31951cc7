from inline.data.recent import Recent


def test_the_first_key_is_forgotten_where_there_are_too_many():
    recent = Recent(2)
    recent["a"], recent["b"], recent["a"] = 1, 2, 3
    assert recent == {"a": 3, "b": 2}
    recent["c"] = 4
    assert recent == {"b": 2, "c": 4}
    recent["b"] = recent.pop("b")  # now the last one
    recent["d"] = 5
    assert recent == {"b": 2, "d": 5}
