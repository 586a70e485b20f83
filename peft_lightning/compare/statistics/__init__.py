"""Which differences between methods are real: intervals, paired tests, and what it would take to tell the others apart.

Whatever the task, what is paired is the score of each answer, higher is better: whether it is right, or a float such as
minus an error. The variance components below are those of any score; two corrections are for right and wrong alone, and
are left out for floats. The argument is made for the correctness of classes.

Every method was trained with a few seeds and every trained model was asked the same N reviews, so the correctness of
method m, seed s, review i has the crossed random effects y_msi = accuracy_m + review_mi + seed_ms + residual_msi. The
question is about the *methods*: the answer has to hold for new seeds and for new reviews.

- **A t-test over the seeds' accuracies** (Bouthillier et al. 2021, "Accounting for variance in machine learning
  benchmarks") throws the pairing by review away, has 2 degrees of freedom a method at three seeds, and calls reviews
  that both methods got by luck a difference: they are the same in all seeds.
- **McNemar's test, a paired bootstrap or a permutation over reviews** (Dror et al. 2018, "The hitchhiker's guide to
  testing statistical significance in natural language processing"; Card et al. 2020, "With little power comes great
  responsibility") is about two trained models: where seeds spread by half a point it calls equal methods different in
  18 % of comparisons of four, by one point in 56 % (tests/compare/statistics/ holds the simulation).
- **A bootstrap over both factors** (Owen 2007, "The pigeonhole bootstrap") has the right model, but resampling three
  seeds shrinks their variance by a third and knows no degrees of freedom; permuting three seeds against three cannot
  reach p < 0.1. **A mixed logistic model** is the same model at a thousand times the cost, and its Wald tests ignore
  that the variance of three seeds is barely known. **Ranks over data sets** (Demšar 2006) need many data sets.

So the variance of a difference is added up from its parts, which are estimated by the two-way analysis of variance
(Searle, Casella and McCulloch 1992, "Variance components"): the variance over reviews of the seed-mean difference, over
N, which holds the pairing and the residuals; and the variance between seeds *without* the residuals that it contains
(about 0.4 points at 2,000 reviews), over the number of seeds, so that nothing is counted twice. It is never less than
the test sample's own part. The t statistic has Satterthwaite's (1946) degrees of freedom.

A method's own three seeds know its variance with 2 degrees of freedom: so it is moderated (Smyth 2004, "Linear models
and empirical Bayes methods"), half its own and half the pooled one of all methods; the half is fixed because a handful
of methods cannot estimate it. **Assumption: methods spread alike over seeds.** Complete pooling has more power and is
wrong by more where that is violated: with seeds that spread by 2 points in one method and 0.3 in three, 10 % instead
of 5 % of comparisons hold a false difference. Half-pooled it is 5.5 %, although the intervals of pairs with that one
method cover 91 % instead of 95 (89 % were it 4 points). The test also takes seeds of different methods as independent:
those that share a number and help or harm all methods alike make it conservative.

Where hardly any review tells two methods apart the normal distribution is a poor one, so one imagined review is won by
each side (Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on
paired data"), and for a single accuracy two are right and two wrong (Agresti and Coull 1998).

The p-values of all pairs are corrected with Shaffer's (1986) first procedure: Holm's (1979), except that it counts only
combinations of equal methods that can exist (of 6 pairs of 4 methods, not exactly 5 can be equal). It controls the
family-wise error as Holm's does, without assumptions on how the pairs depend, and rejects all that Holm's rejects.

Distributions come from scipy.special: the reference implementation, which the other candidates (statsmodels, pingouin)
are built upon. It is imported in functions only.
"""

from peft_lightning.compare.statistics.paired_tests import (
    Difference,
    Interval,
    MethodScore,
    Statistics,
    compare_methods,
    measure_methods,
)
from peft_lightning.compare.statistics.verdict import verdict, verdict_in_short

__all__ = [
    "Difference",
    "Interval",
    "MethodScore",
    "Statistics",
    "compare_methods",
    "measure_methods",
    "verdict",
    "verdict_in_short",
]
