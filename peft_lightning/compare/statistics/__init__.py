"""Intervals, paired tests, and how much larger a comparison must be to tell methods apart.

The score of each answer is paired, for any task; higher is better. The score says whether the answer is right, or is a
float such as minus an error. The variance components below hold for any score. Two corrections apply only to right and
wrong, and are left out for floats. The argument below is made for the correctness of classes.

Every method was trained with a few seeds, and every trained model answered the same N reviews. So the correctness of
method m, seed s, review i has the crossed random effects y_msi = accuracy_m + review_mi + seed_ms + residual_msi. The
question is about the *methods*: the answer must hold for new seeds and for new reviews. Other tests fall short:

- **A t-test over the seeds' accuracies** (Bouthillier et al. 2021, "Accounting for variance in machine learning
  benchmarks") does not use the pairing by review, and has 2 degrees of freedom for each method at three seeds. It also
  takes the luck of the test sample for a difference, because the reviews are the same in all seeds.
- **McNemar's test, a paired bootstrap or a permutation over reviews** (Dror et al. 2018, "The hitchhiker's guide to
  testing statistical significance in natural language processing"; Card et al. 2020, "With little power comes great
  responsibility") is about two trained models. If seeds spread by half a point, it finds a difference between equal
  methods in 18 % of comparisons of four; by one point, in 56 % (the simulation is in tests/compare/statistics/).
- **A bootstrap over both factors** (Owen 2007, "The pigeonhole bootstrap") has the right model, but to resample three
  seeds shrinks their variance by a third and takes no account of degrees of freedom. To permute three seeds against
  three cannot reach p < 0.1.
- **A mixed logistic model** is the same model at a thousand times the cost, and its Wald tests ignore that the variance
  of three seeds is barely known.
- **Ranks over data sets** (Demšar 2006) need many data sets.

So the variance of a difference is the sum of two parts, which are estimated by the two-way analysis of variance
(Searle, Casella and McCulloch 1992, "Variance components"):

- the variance over reviews of the seed-mean difference, divided by N, which includes the pairing and the residuals;
- the variance between seeds *without* the residuals that it contains (about 0.4 points at 2,000 reviews), divided by
  the number of seeds, so that nothing is counted twice.

The sum is never less than the first part. The t statistic has Satterthwaite's (1946) degrees of freedom.

A method's own three seeds estimate its variance with 2 degrees of freedom. So the variance is moderated (Smyth 2004,
"Linear models and empirical Bayes methods"): half the method's own and half the pooled one of all methods. The half is
fixed, because a handful of methods cannot estimate it. **Assumption: methods spread alike over seeds.** Complete
pooling has more power, and is wrong by more if the assumption is violated: with seeds that spread by 2 points in one
method and 0.3 in three, 10 % instead of 5 % of comparisons contain a false difference. With half pooling it is 5.5 %,
although the intervals of pairs with that one method cover 91 % instead of 95 % (89 % at 4 points). The test also
assumes that seeds of different methods are independent. If seeds of the same number help or harm all methods alike, it
is conservative.

If hardly any review tells two methods apart, the normal approximation is poor. So one imagined review is won by each
side (Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on
paired data"), and for a single accuracy two imagined reviews are right and two wrong (Agresti and Coull 1998).

The p-values of all pairs are corrected with Shaffer's (1986) first procedure. It is Holm's (1979), except that it
counts only combinations of equal methods that can exist (of 6 pairs of 4 methods, exactly 5 cannot be equal). It
controls the family-wise error as Holm's does, without assumptions on how the pairs depend, and rejects all that Holm's
rejects. Many methods are shown by letters: two share a letter if, and only if, that correction does not tell them apart
(Piepho 2004). A baseline that is chosen before the results are known has a family of its own: the comparisons of all
others with it are corrected by Holm's procedure for their number alone.

Both families hold for many methods. Of 1,000 simulated comparisons of 30 equal methods with three seeds, 1.3, 3.4 and
5.1 % had a false difference among the 435 pairs if seeds spread by 0, 0.5 and 1 points, and 1.6, 3.8 and 2.7 % one
against the baseline (the simulation is in tests/compare/statistics/test_many_methods.py).

**A metric that is no mean of scores**, such as F1, MCC, an area under a curve, a correlation or RMSE, has no y_msi. It
gets one: the pseudo-value of review i is the metric of the trained model plus the influence of that review on it, which
is the derivative of the metric by the review's weight (Hampel 1974). The mean of the pseudo-values is the metric as it
was recorded, and to first order their mean is what the metric is over other reviews (Jaeckel 1972, "The infinitesimal
jackknife"; of the area under the ROC curve they are DeLong's components). So the model, the pairing by review, the
spread over seeds, the moderation and the corrections above apply as they are. Other ways fall short:

- **A bootstrap over reviews and seeds** has its fault with three seeds here too, needs thousands of samples for
  p-values that 435 pairs can use, and leaves classes or labels without an example in some of them.
- **To delete examples one by one** gives nearly the same variance, slightly larger, at a thousand times the cost for
  curves and ranks. To delete groups gives the same with few degrees of freedom. Both leave a class without examples.
- **Tests of one metric** (DeLong's, Steiger's for correlations) know no seeds.

Some things differ from scores. Few reviews may decide the metric: those of a rare class, or large errors. Their
variance is then known as badly as that of few, so the degrees of freedom of the reviews' part are 2 N / (K − 1), where
K is the kurtosis of the pseudo-values, instead of N − 1. That takes the place of imagined reviews, which a metric that
is no share has no size for. The seeds' part has no more degrees of freedom than its moderated variances leave it:
otherwise two methods whose three seeds happen to agree have many, and of 30 methods some do. The interval of a single
metric is computed on the scale on which its ends are infinitely far, Fisher's z for a correlation, the logit for a
share, the logarithm for an error, because estimates near an end are skewed. Within two imagined examples of an end a
share, and Matthews' coefficient too, has the error that a share has there. A correlation of numbers has its own error
up to the end, with N − 3 for N − 1 (correlations.py). Differences are not skewed: their intervals are plain. A mean of
right and wrong answers keeps its own corrections, by whatever name it is asked for. The expected calibration error is
left out: its bias is as large as what it is to tell apart. How often all this is wrong for each metric,
benchmarks/statistics_simulation.py measures.

Whether methods differ more at one value of a setting than at another is a question about differences of differences:
(method - baseline) at one value minus the same at the other. If the test reviews are the same at both values, all four
means are paired by review, since a method mostly finds the same reviews hard at all values; if they are not, the two
differences count as independent. Seed variances are pooled within a value only, because fewer training texts spread
seeds more. All methods and all pairs of values are one family, corrected by Holm's procedure (interactions.py).

Distributions come from scipy.special, the reference implementation, on which statsmodels and pingouin are built. It is
imported in functions only.
"""

from peft_lightning.compare.statistics.against_baseline import against
from peft_lightning.compare.statistics.correlations import Correlation
from peft_lightning.compare.statistics.interactions import Change, Gap, changes_of_gaps, gaps_to
from peft_lightning.compare.statistics.interval import Interval
from peft_lightning.compare.statistics.letter_groups import letter, letter_groups, letters
from peft_lightning.compare.statistics.method_scores import MethodScore, measure_methods
from peft_lightning.compare.statistics.paired_tests import Difference, Statistics, compare_methods
from peft_lightning.compare.statistics.verdict import compared_by, verdict, verdict_in_short

__all__ = [
    "Change",
    "Correlation",
    "Difference",
    "Gap",
    "Interval",
    "MethodScore",
    "Statistics",
    "against",
    "changes_of_gaps",
    "compare_methods",
    "compared_by",
    "gaps_to",
    "letter",
    "letter_groups",
    "letters",
    "measure_methods",
    "verdict",
    "verdict_in_short",
]
