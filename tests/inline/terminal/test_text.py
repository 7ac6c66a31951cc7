from inline.terminal.text import printable


def test_control_characters_are_shown_as_escapes():
    assert printable("\x1b]0;x\x07 \r\n\x9b \ud800 ö µ") == "\\x1b]0;x\\x07 \\r\\n\\x9b \\ud800 ö µ"
    assert printable("one\ntwo\x00", lines=True) == "one\ntwo\\x00"
