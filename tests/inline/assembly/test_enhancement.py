import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.assembly.enhancement import stated_enhancement
from inline.data.series import Enhancement

NATIVE, POST = Enhancement.NATIVE, Enhancement.POST_CONTRAST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T1map_MOLLI_native", NATIVE),
        ("MOLLI 5(3)3 pre", NATIVE),
        ("MOLLI_pre-contrast SAX", NATIVE),
        ("T1 MOLLI pre_gad", NATIVE),
        ("T1 Mapping nativ", NATIVE),
        ("T1 vor KM", NATIVE),
        ("molli without contrast", NATIVE),
        ("T1 MOLLI non-contrast", NATIVE),
        ("MOLLI_post_15min", POST),
        ("T1_postcontrast", POST),
        ("MOLLI postGd", POST),
        ("T1 post-gadolinium", POST),
        ("T1 nach KM", POST),
        ("T1 with contrast", POST),
        ("T1map_MOLLI", None),
        ("T2map_T2prep", None),
        ("T2 prepared", None),
        ("MOLLI SAX posterior", None),
        ("alternative", None),
        ("T1 presaturation", None),
        ("post or pre", None),
        ("T1MAP_PRECON_SAX7", NATIVE),
        ("T1MAP_PRE_CON_SAX7", NATIVE),
        ("T1MAP_POSTCON_SAX7", POST),
        ("T1map_post-stress", None),
        ("ShMOLLI_192i_post ablation", None),
        ("MOLLI POST-OP", None),
        ("T1map post-processing", None),
        ("MOLLI pre-op", None),
        ("MOLLI pre stress", None),
        ("MOLLI post-stress native", NATIVE),
        ("MOLLI pre-op post", POST),
        ("MOLLI post opt 2", POST),
    ],
)
def test_words_of_the_description_decide(text, expected):
    source = "series description" if expected else ""
    assert stated_enhancement([text], []) == (expected, source)


def test_the_first_description_with_a_word_is_used():
    assert stated_enhancement(["MOLLI", "MOLLI post", "native"], [])[0] is POST


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        *(
            (name, POST)
            for name in ("Gadovist", "0.1 mmol/kg Gd-DOTA", "NOVAgad", "Nanoparticles", "10 ml", "Y")
        ),
        *(
            (name, POST)
            for name in ("No. 3 Gadovist", "no 3: Dotarem", "Nr. 3", "non-ionic macrocyclic", "Non ionique")
        ),
        *(
            (none, None)
            for none in ("", " \0", "-", "0", "none", "No", "N", "n/a", "NONE GIVEN", "NO CONTRAST")
        ),
        *(
            (none, None)
            for none in ("NO_CONTRAST", "without", "w/o", "not given", "keine", "kein KM", "Nein.", "No.")
        ),
    ],
)
def test_a_named_agent_shows_contrast_and_no_agent_shows_nothing(agent, expected):
    assert stated_enhancement(["MOLLI"], [agent])[0] is expected


def test_words_precede_the_agent():
    assert stated_enhancement(["MOLLI native"], ["Gadovist"])[0] is NATIVE


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_is_read(text, agents):
    assert stated_enhancement([text], agents)[0] in (None, NATIVE, POST)
