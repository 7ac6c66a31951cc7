from inline.terminal.text import print_text, printable


def test_control_characters_are_shown_as_escapes():
    assert printable("\x1b]0;x\x07 \r\n\x9b \ud800 ö µ") == "\\x1b]0;x\\x07 \\r\\n\\x9b \\ud800 ö µ"
    assert printable("one\ntwo\x00", lines=True) == "one\ntwo\\x00"


def test_a_text_is_printed_as_it_is(capsys):
    print_text("[red]:heart:[/] /a/b 950.0\x1b[2J\nnext")
    print_text("one\ntwo", lines=True)
    assert capsys.readouterr().out == "[red]:heart:[/] /a/b 950.0\\x1b[2J\\nnext\none\ntwo\n"
