from itertools import combinations

import numpy as np
import pytest

from darts_core.report import palette


@pytest.mark.parametrize(
    ("op", "family"),
    [
        ("sep_conv_7x7", palette.SEPARABLE),
        ("dil_conv_5x5", palette.DILATED),
        ("avg_pool_3x3", palette.POOLING),
        ("max_pool_2x2", palette.POOLING),
        ("skip_connect", palette.IDENTITY),
        ("conv_7x1_1x7", palette.CONVOLUTION),
        ("nor_conv_3x3", palette.CONVOLUTION),
        ("none", palette.ZERO),
        ("tanh", palette.TANH),
        ("relu", palette.RELU),
        ("sigmoid", palette.SIGMOID),
        ("identity", palette.SAME),
        ("softplus", palette.OTHER),
    ],
)
def test_an_operation_belongs_to_its_family(op, family):
    assert palette.family(op) is family


def test_members_of_a_family_differ_by_their_dashes():
    ops = ["sep_conv_3x3", "dil_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "max_pool_3x3", "avg_pool_3x3"]
    looks = [(palette.family(op).colour, str(dash)) for op, dash in palette.dashes(ops).items()]
    assert len(set(looks)) == len(ops)
    assert palette.dashes(ops)["dil_conv_3x3"] == "solid"


def linear(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


def test_white_text_is_legible_on_every_label():
    for family in palette.FAMILIES:
        if family is not palette.ZERO:  # dark on white
            assert 1.05 / (luminance(family.colour) + 0.05) >= 4.5, family


# Linear RGB as it is seen with all cones, without the long or without the medium ones (Viénot, Brettel and Mollon 1999).
CONES = {
    "all": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranopia": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}
TO_XYZ = ((0.4339, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0177, 0.1095, 0.8727))  # sRGB, each row of sum 1: white is 1, 1, 1


def lab(colour, cones):
    """CIE L*a*b* of a colour as it is seen; a difference of 2 is just noticeable."""
    seen = np.clip(np.array(CONES[cones]) @ linear(colour), 0, 1)
    x, y, z = np.cbrt(np.array(TO_XYZ) @ seen)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("cones", CONES)
def test_families_stay_apart_for_the_colour_blind(cones):
    for one, other in combinations([family for family in palette.FAMILIES if family is not palette.OTHER], 2):
        distance = np.linalg.norm(lab(one.colour, cones) - lab(other.colour, cones))
        assert distance > 15, f"{one.name} and {other.name}: {distance:.1f}"


def test_networks_have_a_colour_each_and_random_ones_are_grey():
    colours = palette.network_colours(["searched", "resnet20", "random_0", "mobilenet_v2", "random_1"])
    assert colours["searched"] == palette.BLUE
    assert colours["random_0"] == colours["random_1"] == palette.GREY
    assert len(set(colours.values())) == 4
