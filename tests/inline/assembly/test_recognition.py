import time

import pytest

from inline.assembly.recognition import EARLIER, ImageKind, recognise
from inline.data.series import Quantity

ORIGINAL = ("ORIGINAL", "PRIMARY", "M", "ND", "NORM")
DERIVED = ("DERIVED", "PRIMARY", "M", "ND", "NORM")


def kind(name, types=(), *, timed=False, listed=False, **names):
    return recognise(own=(name,), types=types, **names, timed=timed, listed=listed)


@pytest.mark.parametrize(
    "name",
    [
        "ShMOLLI_192i_SAX_b2s",
        "t1map_long_t1",
        "T1Map_LongT1_SA_Base_MOCO",
        "t1map_long_t1_3slice_8mm_150_gap_MOCO",
        "T1MAP_LONG_T1",
        "MOLLI native T1",
        "SAX MOLLI 5(3)3 pre T1",
        "SAX_T1_MAP",
    ],
)
@pytest.mark.parametrize("types", [ORIGINAL, ("ORIGINAL\\PRIMARY\\M\\ND",), ()])
def test_a_name_makes_no_map_of_an_image_that_bears_a_time(name, types):
    found = kind(name, types, timed=True)
    assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, Quantity.T1)


@pytest.mark.parametrize("name", ["MOLLI native T1", "T1MAP_LONG_T1", "SAX T1 map", "t1map_long_t1_MOCO_T1"])
def test_a_name_makes_no_map_of_an_image_as_acquired(name):
    assert kind(name, ORIGINAL).kind is ImageKind.WEIGHTED


@pytest.mark.parametrize(
    "name",
    [
        "t1map_long_t1_MOCO_T1",
        "T1MAP_PRECON_SAX7_MOCO_T1",
        "t1map_long_t1_moco_t1",
        "t1map_long_t1_MOCO_T1-2",
        "ShMOLLI_192i_SAX_b2s_SAX_b2s_SAX_b2s_T1MAP",
        "MOLLI_T1_MAP",
        "SAX T1 map",
    ],
)
def test_names_of_derived_maps(name):
    assert kind(name, DERIVED) == kind(name.lower(), DERIVED)
    assert (kind(name, DERIVED).kind, kind(name, DERIVED).quantity) == (ImageKind.MAP, Quantity.T1)


def test_phase_sensitive_images_with_listed_times_are_a_series():
    assert kind("T1Map_LongT1_PSIR", listed=True).quantity is Quantity.T1


@pytest.mark.parametrize(
    "name", ["MOLLI T1 map flip 35", "T1_MOLLI_offset_50Hz", "t1map_high_efficiency", "t1_molli_B1_shim"]
)
def test_words_of_protocols_whose_times_are_listed_name_no_other_map(name):
    other = "its name is that of another parameter than T1 or T2"
    assert kind(name, listed=True).quantity is Quantity.T1
    assert kind(name) == kind(name, DERIVED, listed=True) == other


@pytest.mark.parametrize("types", [("M", "SD"), ("M", "NORM", "PD"), ("M", "B1", "FILTERED_MAP"), ("M_SNR",)])
def test_further_values_of_the_image_type_name_no_other_map_of_an_image_as_acquired(types):
    found = kind("MOLLI_T1", ("ORIGINAL", "PRIMARY", *types), timed=True)
    if types == ("M_SNR",):
        assert found == "its image type is that of another parameter than T1 or T2"
    else:
        assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, Quantity.T1)


def test_a_protocol_that_is_named_after_myostream_makes_no_earlier_result():
    own = {"own": ("SAX",), "listed": False}
    found = recognise(**own, protocols=("MOLLI_myostream_T1",), types=DERIVED, timed=False)
    assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, Quantity.T1)
    assert kind("MOLLI_myostream_T1", ORIGINAL, timed=True).kind is ImageKind.WEIGHTED
    # Results that a scanner converts may state the protocol's time.
    assert kind("MOLLI_myostream_T1", ("ORIGINAL", "PRIMARY", "T1 MAP"), timed=True) == EARLIER


@pytest.mark.parametrize(
    "name", ["T2_map_gre_multiecho", "GRE_T2map_star", "Multi-Echo GRE T2 map", "T2*map"]
)
def test_several_echoes_of_a_gradient_echo_are_t2_star(name):
    for found in (kind(name, ORIGINAL), kind(name, ORIGINAL, listed=True)):
        assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, None)
    for other in ("T2prep_GRE_T2map", "T2map_GraSE_multiecho", "T2map_start"):
        assert kind(other, ORIGINAL).quantity is Quantity.T2


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("types", [ORIGINAL, DERIVED, ()])
@pytest.mark.parametrize(
    "name", ["T1rho_map_mid", "T1-RHO SAX", "T1 rho", "SAX_T1_Rho", "T1ρ map", "T1Ρ", "Spin-lock prep SAX"]
)
def test_t1rho_is_not_fitted(name, types, timed):
    assert isinstance(kind(name, types, timed=timed), str)
    found = recognise(own=("SAX",), measurement=(name,), timed=True, listed=False)
    assert not isinstance(found, str)
    assert isinstance(recognise(measurement=(name,), timed=timed, listed=True), str)


def test_a_name_of_the_image_goes_before_t1rho_of_its_protocol():
    found = recognise(own=("T2map",), protocols=("T1rho",), timed=True, listed=False)
    assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, Quantity.T2)
    found = recognise(own=("T1rho",), protocols=("T2map",), timed=True, listed=False)
    assert found == "named as T1rho, which is not fitted"


@pytest.mark.parametrize("name", ["T1rho", "Cardiac_T1rho study", "spin-lock"])
@pytest.mark.parametrize("own", [(), ("5(3)3 SAX mid",)])
@pytest.mark.parametrize("place", ["protocols", "measurement"])
def test_images_with_inversion_times_are_no_t1rho_by_the_name_of_a_session(name, own, place):
    found = recognise(own=own, timed=True, listed=False, inverted=True, **{place: (name,)})
    assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, None)
    assert isinstance(recognise(own=(name,), timed=True, listed=False, inverted=True), str)


@pytest.mark.parametrize("name", ["T1_Rhone", "post T1 rhombic FOV", "T1_Rhode_Island", "SAX spin-lock off"])
def test_other_words_are_no_t1rho(name):
    assert kind(name, timed=True).kind is ImageKind.WEIGHTED


@pytest.mark.parametrize("name", ["T1rhomap", "T1rho_prep", "T1rhomapping", "T1rho3", "spinlocking"])
def test_t1rho_with_a_word_behind_it(name):
    assert kind(name, timed=True) == "named as T1rho, which is not fitted"


def test_a_t2_map_may_state_that_its_spin_lock_is_off():
    found = kind("T2map_spinlock_off", DERIVED)
    assert (found.kind, found.quantity) == (ImageKind.PERHAPS_MAP, Quantity.T2)


def test_the_number_of_images_decides_where_only_the_protocol_may_be_named():
    assert kind("SAX_T1map_MOCO", DERIVED).kind is ImageKind.PERHAPS_MAP
    assert kind("MOLLI_T1map").kind is ImageKind.PERHAPS_MAP


@pytest.mark.parametrize("token", ["T1 MAP", "T1_MAP", "T1MAP", "MYOMAPS_T1", "t1_map"])
def test_image_types_of_maps(token):
    assert kind("anything", ("DERIVED", "PRIMARY", token)).kind is ImageKind.MAP
    assert kind("anything", (f"DERIVED\\PRIMARY\\{token}\\ND",)).quantity is Quantity.T1


@pytest.mark.parametrize("timed", [False, True])
def test_image_types_of_philips(timed):
    """It calls its maps ORIGINAL, and lets them state an inversion time of the protocol."""

    def of(third, fourth, last="UNSPECIFIED"):
        return kind("MOLLI 5(3)3 SAX", ("ORIGINAL", "PRIMARY", third, fourth, last), timed=timed)

    assert (of("T1 MAP", "T1").kind, of("T1 MAP", "T1").quantity) == (ImageKind.MAP, Quantity.T1)
    assert of("T2 MAP", "T2").quantity is Quantity.T2
    for other in ("R1 MAP", "B0 MAP", "M0 MAP", "T2_STAR MAP", "T1 STD", "STD T1 MAP", "ERROR", "R2"):
        assert of(other, "T1") == "its image type is that of another parameter than T1 or T2"
    weighted = kind("MOLLI", ("ORIGINAL", "PRIMARY", "M", "T1 MAP"), timed=True)
    assert weighted.kind is ImageKind.WEIGHTED, "value 3 states that it is a magnitude"
    for image in ("M_FFE", "M_IR", "R_IR", "PHASE MAP"):
        assert of(image, image[0], "FFE").kind is ImageKind.WEIGHTED


@pytest.mark.parametrize("last", ["NONE", "MIXED"])
def test_value_3_of_enhanced_images_is_the_weighting(last):
    """DICOM PS3.3, C.8.13.3.1: value 3 is T1, T2, ...; value 4 NONE where nothing was derived."""
    for types in (("DERIVED", "PRIMARY", "T1", last), (f"DERIVED\\PRIMARY\\T2\\{last}",)):
        found = kind("tse_dark_blood_sax", types)
        assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, None)
        assert kind("T1map_SAX_MOCO", types).kind is ImageKind.PERHAPS_MAP
        assert kind("MOLLI_MOCO_T1", types).kind is ImageKind.MAP
    # Siemens' map, and one of classic images with the bare token.
    assert kind("x", ("DERIVED\\PRIMARY\\T1 MAP\\MOCO\\T1\\DIS2D",)).quantity is Quantity.T1
    assert kind("x", ("DERIVED", "PRIMARY", "T2")).kind is ImageKind.MAP


def test_an_image_type_or_role_of_both_maps_is_a_reason_and_no_guess():
    both = "names both a T1 and a T2 map"
    assert kind("anything", ("DERIVED", "T1 MAP", "T2 MAP")) == f"its image type {both}"
    assert kind("MOLLI_T1_MAP", ("DERIVED\\T2\\MYOMAPS_T1",)) == f"its image type {both}"
    assert kind("anything", roles=("T1", "T2MAP")) == f"its data role {both}"
    # Of an image with a time, the short tokens describe its weighting.
    assert kind("MOLLI", ("ORIGINAL", "T1", "T2"), timed=True).kind is ImageKind.WEIGHTED
    assert kind("anything", ("T2", "T1_MAP"), timed=True).quantity is Quantity.T1
    assert kind("anything", ("T1 MAP", "MYOMAPS_T1")).quantity is Quantity.T1


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("ShMOLLI_192i_SAX_b2s_SAX_b2s_FITPARAMS", DERIVED),
        ("T2_MAP_FLASH_SAX9_T2STAR", DERIVED),
        ("T2*map", DERIVED),
        ("t2_star_map", ()),
        ("T1map_ECV", DERIVED),
        ("T1map_MOCO_SD", DERIVED),
        ("T1map_stderr", DERIVED),
        ("T1 map amplitude", ()),
        ("MOLLI_T1_confidence", DERIVED),
        ("T1_map_rsquare", ()),
        ("T1*_map", DERIVED),
        ("MOLLI T1 map star", DERIVED),
        ("MOLLI T1 map PD", DERIVED),
        ("T1map_MOLLI_SDmap", DERIVED),
        ("MOLLI T1 map synthetic IR", DERIVED),
        ("T1 map PSIR", ()),
        ("T1MAP_PSIR", DERIVED),
        ("MOLLI T1 map uncertainty", DERIVED),
        ("MOLLI_T1_map_chi", DERIVED),
        ("MOLLI T1 map inversion efficiency", DERIVED),
        ("T1 map difference pre post", DERIVED),
    ],
)
def test_maps_of_other_parameters_are_none(name, types):
    assert kind(name, types) == "its name is that of another parameter than T1 or T2"


@pytest.mark.parametrize("name", ["tse_sax_T2", "haste_loc_T1", "cine_sax"])
@pytest.mark.parametrize("types", [ORIGINAL, DERIVED, ()])
def test_anatomy_named_t1_or_t2_names_no_mapping(name, types):
    found = kind(name, types)
    assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, None)


@pytest.mark.parametrize(
    "role",
    [
        "T1SD",
        "Gfactor",
        "SNR_MAP",
        "T2STAR",
        "Segmentation",
        "Image_Other",
        "GADGETRON_STD_MAP",
        "GT_Image_Other",
    ],
)
def test_other_data_roles_are_no_mapping_images(role):
    found = kind("MOLLI", roles=("Image", role), timed=True)
    assert found == f"data role {role}, not an image or a T1 or T2 map"


@pytest.mark.parametrize("role", ["PSIR", "MAGIR"])
def test_roles_of_inversion_recovery_need_an_inversion_time(role):
    assert kind("MOLLI", roles=("Image", role), timed=True).quantity is Quantity.T1
    assert kind("MOLLI", roles=("Image", role)) == f"data role {role} without an inversion time"


@pytest.mark.parametrize(
    "roles",
    [
        ("Image", "AVE", "NORM", "MAGIR"),
        ("Image", "FIL"),
        ("GT", "Image"),
        ("Image", "Image_Intensity_Unchanged"),
        ("GADGETRON_Image", "GADGETRON_Image_Intensity_Unchanged"),
        ("GT_Image",),
        ("ImageMoCo",),
        ("GADGETRON_ImageMoCo",),
        ("GT_ImageMoCo",),
    ],
)
def test_roles_of_images_in_the_standard_and_in_versions_of_gadgetron(roles):
    """MRD's documentation of image data; Gadgetron's toolboxes/mri_core/mri_core_def.h."""
    found = kind("T1map_MOLLI", roles=roles, timed=True)
    assert (found.kind, found.quantity, found.corrected) == (
        ImageKind.WEIGHTED,
        Quantity.T1,
        "MoCo" in roles[0],
    )
    made = kind("MOLLI", roles=(*roles[:1], "T1", "NORM"), timed=True)
    assert (made.kind, made.quantity) == (ImageKind.MAP, Quantity.T1)


def test_data_roles_of_maps_and_images():
    assert kind("x", roles=("T2",)).kind is ImageKind.MAP
    assert kind("MOLLI", roles=("MOCO",), timed=True).corrected
    assert kind("MOLLI", roles=("PSIR",), timed=True).kind is ImageKind.WEIGHTED


def test_what_a_chain_adds_does_not_replace_the_protocol():
    found = recognise(additions=("_GT",), measurement=("T2map_FLASH",), timed=False, listed=True)
    assert (found.kind, found.quantity, found.corrected) == (ImageKind.WEIGHTED, Quantity.T2, False)
    assert recognise(additions=("_MOCO",), measurement=("MOLLI",), timed=True, listed=False).corrected


@pytest.mark.parametrize("name", ["SASHA_10pt_TS600", "T1map_SASHA", "SMART1Map", "SAPPHIRE T1"])
def test_saturation_recovery_by_name(name):
    assert kind(name, timed=True).saturation
    assert kind(name, timed=True).quantity is Quantity.T1


@pytest.mark.parametrize("name", ["MOLLI 5(3)3", "MOLLI_smart1.5T", "T1map smart12"])
def test_names_without_saturation_recovery(name):
    assert not kind(name, timed=True).saturation


@pytest.mark.parametrize(
    "text", ["t1" + " " * 200_000, "T2_" * 100_000, "t1-" * 100_000 + "map", "\\" * 10**6]
)
def test_no_text_takes_long(text):
    start = time.process_time()
    kind(text, (text,), roles=(text,))
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize("name", ["Carte T1", "Mapa T2", "SAX mapping T1"])
def test_names_of_maps_in_other_languages(name):
    assert kind(name, DERIVED).kind is ImageKind.MAP


def test_a_name_of_a_map_is_not_enough_where_the_header_lists_times():
    assert kind("MOLLI_MOCO_T1").kind is ImageKind.MAP
    assert recognise(own=("MOLLI_MOCO_T1",), timed=False, listed=True).kind is ImageKind.PERHAPS_MAP


@pytest.mark.parametrize(
    "name",
    [
        "TI_scout",
        "TI-Scout",
        "TISCOUT",
        "TI scout PSIR",
        "CV_SCOUT-TI",
        "LL_scout",
        "Look Locker TI scout",
        "localizer T1",
        "Localiser",
        "3-plane_scout",
    ],
)
@pytest.mark.parametrize("timed", [True, False])
def test_scouts_and_localizers_by_name(name, timed):
    assert kind(name, ORIGINAL, timed=timed) == "named as a scout or localizer"
    # The image's own name goes before that of its measurement.
    assert kind(name, measurement=("MOLLI",), timed=timed) == "named as a scout or localizer"
    assert kind("MOLLI", measurement=(name,), timed=timed).quantity is Quantity.T1


@pytest.mark.parametrize(
    "name", ["cine_tf2d_sax", "CINE 4CH", "LGE_PSIR", "psir-lge", "Late Enhancement", "late_gad"]
)
def test_cine_and_late_enhancement_are_none_of_the_mapping_series_of_their_header(name):
    reason = "named as cine or late enhancement, though its header names mapping"
    assert kind(name, ORIGINAL, measurement=("MOLLI",)) == reason
    assert kind(name, ORIGINAL, timed=True).quantity is None
    for timed in (True, False):
        both = recognise(own=(name, "MOLLI"), types=ORIGINAL, timed=timed, listed=False)
        assert both.quantity is Quantity.T1


@pytest.mark.parametrize("name", ["cine_tf2d_sax", "LGE_PSIR", "heart_T2star_8echo", "T2* liver"])
@pytest.mark.parametrize("protocol", ["CMR MOLLI T2map", "T2map cardiac"])
def test_a_protocol_that_names_mapping_may_be_that_of_a_whole_session(name, protocol):
    found = kind(name, ORIGINAL, protocols=(protocol,))
    assert found == "named as cine, late enhancement or T2*, though its protocol names mapping"
    by_times = kind(name, ORIGINAL, protocols=(protocol,), timed=True)
    assert (by_times.quantity, by_times.certain) == (None, False)
    for other in ("sax_base", "T1_post_LGE", "MOLLI_cine", "T2map not T2star"):
        assert kind(other, ORIGINAL, protocols=(protocol,)).quantity is not None


@pytest.mark.parametrize(
    "name", ["5b(3s)3b_SAX_after LGE", "SAX_post_LGE", "pre LGE", "sax cine level", "3 CINE SAX COPY", "LGE"]
)
@pytest.mark.parametrize(("timed", "listed"), [(True, False), (False, True), (True, True)])
def test_images_with_times_are_those_of_a_header_that_names_mapping_whatever_their_names(name, timed, listed):
    found = kind(name, ORIGINAL, measurement=("MOLLI",), timed=timed, listed=listed)
    assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, Quantity.T1)


@pytest.mark.parametrize(
    "name", ["T1Map_LongT1_PSIR", "T1_post_LGE", "SAX_PSIR", "sax_base", "MOLLI_cine", "medicine", "college"]
)
def test_other_names_leave_it_to_the_header_that_an_image_is_mapping(name):
    assert kind(name, ORIGINAL, measurement=("MOLLI",)).quantity is Quantity.T1


@pytest.mark.parametrize("header", ["localizer", "TI_scout", "Look-Locker scout"])
def test_a_header_that_names_a_scout_is_not_that_of_images_with_names_of_their_own(header):
    """Converters may take one header for a study from its first file."""
    weighted = kind("SAX_5s3s3s_HR_b", ORIGINAL, measurement=(header,), timed=True)
    assert weighted.kind is ImageKind.WEIGHTED
    found = kind("sax_base_MOCO_T1", DERIVED, measurement=(header,))
    assert (found.kind, found.quantity) == (ImageKind.MAP, Quantity.T1)
    for timed in (True, False):
        nameless = recognise(types=ORIGINAL, measurement=(header, "MOLLI"), timed=timed, listed=False)
        assert nameless == "named as a scout or localizer"


@pytest.mark.parametrize(
    ("name", "certain"),
    [
        ("MOLLI", True),
        ("SAX T1 map", True),
        ("Modified Look-Locker", True),
        ("Look-Locker", False),
        ("LookLocker_T1", False),
        ("MOLLI_scout", False),
    ],
)
def test_names_that_a_ti_scout_may_bear_are_not_certain(name, certain):
    found = kind(name, timed=True)
    assert (found.quantity, found.certain) == (Quantity.T1, certain)


@pytest.mark.parametrize("ending", ["T1", "T1_LABELS", "T2_SD", "ECV", "LAMBDA_SD"])
def test_results_of_an_earlier_run_are_no_map_whatever_was_appended_to(ending):
    """mrd2dicom of python-ismrmrd-server appends the additional description; image type and role stay."""
    for name in (f"MOLLI_SAXmyostream_{ending}", f"T1map_MOLLI_myostream_{ending}"):
        assert kind(name, ("T1 MAP",)) == EARLIER
    assert kind("MOLLI", ("T1 MAP",), additions=(f"myostream_{ending}",)) == EARLIER
    assert kind("MOLLI", ("T1 MAP",), history=("PYTHON", "MYOSTREAM", "T1")) == EARLIER
    assert kind("MOLLI for myostream_T1 trial", ("T1 MAP",)).kind is ImageKind.MAP


@pytest.mark.parametrize(
    ("own", "additions"),
    [
        ("T1map_MOLLI_MOCO_T1", ("T1STAR",)),
        ("T1map_MOLLI_T1", ("FIRE", "ECV")),
        ("T2map_SAX_T2", ("_GT", "T2STAR")),
        ("MOLLI_T1", ("_SNR_MAP",)),
        ("T1map_MOLLI", ("T1", "*")),
    ],
)
def test_a_word_that_a_chain_adds_names_the_map_of_another_parameter(own, additions):
    other = "its name is that of another parameter than T1 or T2"
    assert kind(own, DERIVED, additions=additions) == other
    for listed in (True, False):
        by_header = recognise(measurement=(own,), additions=additions, timed=False, listed=listed)
        assert by_header == other
    assert kind(own, ORIGINAL, additions=additions, timed=True).kind is ImageKind.WEIGHTED


@pytest.mark.parametrize("additions", [("_GT",), ("_GT", "FIRE"), ("_GT", "_GT"), ()])
def test_additions_do_not_hide_the_name_of_a_map(additions):
    for name in ("T1map_MOLLI_MOCO_T1", "SAX T1 map"):
        assert kind(name, DERIVED, additions=additions) == kind(name, DERIVED)
        assert kind(name, DERIVED, additions=additions).kind is ImageKind.MAP


def test_a_chain_may_add_the_name_of_its_map():
    """Gadgetron's additions with the protocol's name, joined as MRD's documentation of image data has it."""
    found = recognise(
        measurement=("T1map_MOLLI",), additions=("_GT", "MOCO", "T1"), timed=False, listed=False
    )
    assert (found.kind, found.quantity) == (ImageKind.MAP, Quantity.T1)


@pytest.mark.parametrize(("listed", "expected"), [(True, ImageKind.PERHAPS_MAP), (False, ImageKind.MAP)])
def test_an_addition_names_no_map_for_certain_where_the_header_lists_times(listed, expected):
    assert kind("cardiac T1 mapping", DERIVED, additions=("_T1",), listed=listed).kind is expected
    assert kind("MOLLI_MOCO_T1", DERIVED, additions=("_GT",), listed=listed).kind is ImageKind.MAP


@pytest.mark.parametrize(
    "types",
    [
        ("DERIVED\\PRIMARY\\SEGMENTATION\\openrecon_segment",),
        ("DERIVED\\PRIMARY\\M\\openrecon_segment",),
        ("DERIVED\\PRIMARY\\M\\ND", "openrecon_segment"),
        ("DERIVED\\PRIMARY\\SEGMENTATION\\vesselboost_source_geometry", "DERIVED\\PRIMARY\\T1 MAP\\ND"),
    ],
)
def test_masks_and_labels_of_openrecon_by_their_image_types(types):
    """Attributes of the masks of neurodesk/openrecon, some with the image type of their source besides."""
    for timed in (True, False):
        found = kind("T1map_MOLLI_MOCO_T1", types, roles=("Image",), timed=timed)
        assert found == "its image type is that of a segmentation"


@pytest.mark.parametrize(
    "ending",
    ["-segment", "_openmsk_segmentation", "_autosegment", "_Segmentierung", "_label", "_mask"],
)
def test_masks_and_labels_by_their_names(ending):
    other = "its name is that of another parameter than T1 or T2"
    for types in (DERIVED, ()):
        assert kind(f"T1map_MOLLI{ending}", types) == other
        assert kind("T1map_MOLLI_MOCO_T1", types, additions=(ending,)) == other


@pytest.mark.parametrize(
    "name", ["MOLLI segmented T1", "MOLLI 2 segments", "T2prep_segmented_SAX", "MOLLI_nonsegmented"]
)
def test_a_segmented_acquisition_is_no_mask(name):
    for types in (ORIGINAL, DERIVED, ()):
        assert kind(name, types).quantity is not None
    assert kind("MOLLI segment 2", listed=True).quantity is Quantity.T1


ADDED = ("_GRAPPA_R2", "_PSIR", "_flip_corr", "_B1", "_segment_2", "_PD")


@pytest.mark.parametrize("addition", ADDED)
def test_a_word_that_a_chain_adds_describes_weighted_images_unless_a_map_is_named(addition):
    """Times may be in ``user_int`` or in the list of the header, which name no time of the image's own."""
    for name, listed in (("MOLLI", True), ("MOLLI", False), ("T1map_MOLLI", False)):
        found = kind(name, additions=(addition,), listed=listed)
        assert (found.kind, found.quantity) == (ImageKind.WEIGHTED, Quantity.T1)
    assert kind("T1map_MOLLI", additions=(addition,), listed=True).quantity is Quantity.T1
    other = "its name is that of another parameter than T1 or T2"
    assert kind("MOLLI", DERIVED, additions=(addition,)) == other
    assert kind("MOLLI_T1", additions=(addition,)) == other
    assert kind("MOLLI", additions=("T1", addition)) == other


@pytest.mark.parametrize("addition", ["_T1STAR", "_ECV", "_SNR", "_mask", "_segmentation"])
def test_a_word_that_a_chain_adds_to_maps_alone_describes_no_weighted_images(addition):
    other = "its name is that of another parameter than T1 or T2"
    assert kind("MOLLI", additions=(addition,)) == other
