"""Whether a classifier's accuracy depends on an attribute of the groups that images come from.

Statistics of tables of predictions: no torch here, and no images. :func:`audit_groups` is the whole
audit; the tests that it is made of can be had one by one: a line through the groups
(:func:`fit_line`, :func:`fit_mixed`), two sets of models (:func:`compare_slopes`), two versions of
one (:func:`compare_versions`), the usual measures (:func:`group_measures`), fair within a margin
(:func:`groups_within`, :func:`slope_within`), and how many images it takes (:func:`plan`).
:func:`make_geo_dataset` makes a data set of photographs by country.

Needs the extra ``fairness``, and ``geo`` for the last.

>>> from percert.fairness import PlanSettings, plan
>>> plan(PlanSettings(groups=2, rate=0.5, gap=0.1))[0].images
393
"""

from typing import TYPE_CHECKING

from percert.registry import lazy_names

if TYPE_CHECKING:
    from percert.fairness.audit import audit_groups
    from percert.fairness.audit_result import AuditSettings, GroupAudit
    from percert.fairness.conclusions import TestResult
    from percert.fairness.equivalence import Resolution, groups_within, slope_within
    from percert.fairness.geo.dataset import GeoDataset, GeoRun, GeoSettings, make_geo_dataset
    from percert.fairness.geo.flickr import FlickrSettings
    from percert.fairness.measures import Measure, group_measures
    from percert.fairness.mixed_logistic import MixedLogistic, fit_mixed
    from percert.fairness.p_values import f_p_value, holm, t_p_value
    from percert.fairness.planning import PlanSettings, SampleSize, plan
    from percert.fairness.predictions import check_predictions, read_attributes, read_predictions
    from percert.fairness.regression import GroupLine, fit_line
    from percert.fairness.report import write_report
    from percert.fairness.slope_tests import SlopeComparison, compare_slopes
    from percert.fairness.versions import VersionComparison, compare_versions

__all__ = [
    "AuditSettings",
    "FlickrSettings",
    "GeoDataset",
    "GeoRun",
    "GeoSettings",
    "GroupAudit",
    "GroupLine",
    "Measure",
    "MixedLogistic",
    "PlanSettings",
    "Resolution",
    "SampleSize",
    "SlopeComparison",
    "TestResult",
    "VersionComparison",
    "audit_groups",
    "check_predictions",
    "compare_slopes",
    "compare_versions",
    "f_p_value",
    "fit_line",
    "fit_mixed",
    "group_measures",
    "groups_within",
    "holm",
    "make_geo_dataset",
    "plan",
    "read_attributes",
    "read_predictions",
    "slope_within",
    "t_p_value",
    "write_report",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "percert.fairness.audit": "audit_groups",
        "percert.fairness.audit_result": "AuditSettings GroupAudit",
        "percert.fairness.conclusions": "TestResult",
        "percert.fairness.equivalence": "Resolution groups_within slope_within",
        "percert.fairness.geo.dataset": "GeoDataset GeoRun GeoSettings make_geo_dataset",
        "percert.fairness.geo.flickr": "FlickrSettings",
        "percert.fairness.measures": "Measure group_measures",
        "percert.fairness.mixed_logistic": "MixedLogistic fit_mixed",
        "percert.fairness.p_values": "f_p_value holm t_p_value",
        "percert.fairness.planning": "PlanSettings SampleSize plan",
        "percert.fairness.predictions": "check_predictions read_attributes read_predictions",
        "percert.fairness.regression": "GroupLine fit_line",
        "percert.fairness.report": "write_report",
        "percert.fairness.slope_tests": "SlopeComparison compare_slopes",
        "percert.fairness.versions": "VersionComparison compare_versions",
    },
    submodules=("geo",),
)
