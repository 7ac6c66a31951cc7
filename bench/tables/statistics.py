"""Statistics of the study, by libraries: Welch and Games-Howell, Kruskal-Wallis and DSCF, ICC, letters."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
import pingouin
import scikit_posthocs
from numpy.typing import NDArray
from scipy import stats

ALPHA: Final = 0.05

Groups = Mapping[str, Sequence[float]]
"""Values by the name of their group; NaN is left out."""


@dataclass(frozen=True, slots=True)
class GroupTest:
    """Test of the differences between groups.

    Attributes:
        test: its name and that of the post-hoc test.
        p: of the test over all groups; NaN where it does not apply.
        pairs: p of the post-hoc test by two groups' names.
        letters: compact letter display: groups that share a letter do not differ at 5 %.
    """

    test: str
    p: float = math.nan
    pairs: dict[tuple[str, str], float] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Intraclass correlation, two-way, single ratings, absolute agreement, with its 95 % interval."""

    icc: float
    low: float
    high: float
    targets: int


def welch(groups: Groups) -> GroupTest:
    """Return Welch's ANOVA, and Games-Howell between the groups (unequal variances)."""
    name = "Welch's ANOVA, Games-Howell"
    frame = _frame(groups)
    if frame is None or (frame.groupby("group")["value"].std() == 0).any():
        return GroupTest(name)
    p = float(pingouin.welch_anova(data=frame, dv="value", between="group")["p_unc"].iloc[0])
    table = pingouin.pairwise_gameshowell(data=frame, dv="value", between="group")
    pairs = dict(zip(zip(table["A"], table["B"], strict=True), map(float, table["pval"]), strict=True))
    return GroupTest(name, p, pairs, letters(pairs, _by_mean(groups)))


def kruskal(groups: Groups) -> GroupTest:
    """Return Kruskal-Wallis, and Dwass-Steel-Critchlow-Fligner between the groups (any distribution)."""
    name = "Kruskal-Wallis, Dwass-Steel-Critchlow-Fligner"
    frame = _frame(groups)
    if frame is None or frame["value"].nunique() < 2:
        return GroupTest(name)
    p = float(stats.kruskal(*(values for _, values in frame.groupby("group")["value"])).pvalue)
    # Two groups whose values are all ties have no p.
    table = scikit_posthocs.posthoc_dscf(frame, val_col="value", group_col="group", sort=True).fillna(1.0)
    pairs = {(a, b): float(table.loc[a, b]) for a, b in itertools.combinations(table.index, 2)}
    return GroupTest(name, p, pairs, letters(pairs, _by_mean(groups)))


def letters(pairs: Mapping[tuple[str, str], float], order: Sequence[str]) -> dict[str, str]:
    """Return the compact letter display (Piepho 2004, J Comput Graph Stat 13:456) of pairwise p.

    Args:
        pairs: p by two names; missing pairs count as not different.
        order: names; the letters start with the first.
    """
    table = pd.DataFrame(1.0, index=list(order), columns=list(order))
    for (a, b), p in pairs.items():
        table.loc[a, b] = table.loc[b, a] = p
    shown = scikit_posthocs.compact_letter_display(table, alpha=ALPHA)
    return {str(name): str(text).replace(" ", "") for name, text in shown.items()}


def intraclass(ratings: NDArray[np.float64]) -> Correlation | None:
    """Return ICC(A,1) (McGraw and Wong 1996) of ratings ``(targets, raters)``; targets with NaN are left out.

    Returns:
        None for fewer than two raters or five complete targets.
    """
    whole = ratings[np.isfinite(ratings).all(axis=1)]
    targets, raters = whole.shape
    if raters < 2 or targets < 5:
        return None
    frame = pd.DataFrame(whole).melt(ignore_index=False, var_name="rater", value_name="rating").reset_index()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Identical ratings divide by a variance of zero.
        warnings.simplefilter("ignore", RuntimeWarning)
        table = pingouin.intraclass_corr(frame, targets="index", raters="rater", ratings="rating")
    row = table.set_index("Type").loc["ICC(A,1)"]
    low, high = row["CI95"]
    return Correlation(float(row["ICC"]), float(low), float(high), targets)


def _frame(groups: Groups) -> pd.DataFrame | None:
    """Return the long form; None unless two or more groups have two or more values each."""
    rows = [(name, value) for name, values in groups.items() for value in values if math.isfinite(value)]
    frame = pd.DataFrame(rows, columns=["group", "value"])
    sizes = frame["group"].value_counts().reindex(groups, fill_value=0)
    return frame if len(sizes) >= 2 and sizes.min() >= 2 else None


def _by_mean(groups: Groups) -> list[str]:
    """Return the names by decreasing mean."""
    return sorted(groups, key=lambda name: -float(np.nanmean(groups[name])))
