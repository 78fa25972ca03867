"""What a comparison of configurations guarantees, by simulated sweeps, and its parts against other libraries and by hand."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from pathsynth.metrics.comparison import compare, dunnett_quantile, effects, selected_mean

SEED_NOISE, TRIAL_NOISE, LEAD = 0.02, 0.046, 0.1
Missing = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Rates:
    """Of simulated sweeps: shares in which a lead was claimed that is none, in which the true one was found, and in which the contenders
    hold the best; the mean error of the corrected and of the observed score of the leader; how often the lead's interval holds it."""

    false: float
    found: float
    kept: float
    bias: float
    observed_bias: float
    covered: float
    sweeps: int

    def margin(self, share: float) -> float:
        """Three standard errors of a share."""
        return 3 * (share * (1 - share) / self.sweeps) ** 0.5


def simulated(
    means: np.ndarray, seeds: int, sweeps: int, spread: float | np.ndarray = 1.0, missing: Missing | None = None, seed: int = 0
) -> Rates:
    """Rates of ``compare`` on sweeps of configurations with these true means; ``spread``: noise of each in multiples of TRIAL_NOISE."""
    rng = np.random.default_rng([seed, len(means), seeds])
    best = np.flatnonzero(means == means.max())
    counts, errors = np.zeros(4), []
    for _ in range(sweeps):
        shared = rng.normal(0, SEED_NOISE, seeds)
        noise = TRIAL_NOISE * np.broadcast_to(spread, len(means))[:, None] * rng.normal(size=(len(means), seeds))
        scores = means[:, None] + shared + noise
        found = compare(missing(rng, scores) if missing else scores)
        leader = found.order[0]
        true = means[leader] - np.delete(means, leader).max()
        if found.noise is None:
            continue  # so few trials that nothing is claimed
        assert found.lead is not None and found.lead.low is not None and found.lead.high is not None and found.score is not None
        counts += (
            found.separable and true <= 0,
            found.separable and true > 0,
            bool(set(best) & set(found.contenders)),
            found.lead.low <= true <= found.lead.high,
        )
        level = means[leader] + shared.mean()
        errors.append((found.score.value - level, found.means[leader] - level))
    bias, observed = np.mean(errors, axis=0)
    assert len(errors) >= 0.98 * sweeps
    false, right, kept, covered = counts / len(errors)
    return Rates(false, right, kept, float(bias), float(observed), covered, len(errors))


def no_difference(k: int) -> np.ndarray:
    return np.full(k, 0.6)


def one_leader(k: int) -> np.ndarray:
    return 0.6 + LEAD * (np.arange(k) == 0)


def two_leaders(k: int) -> np.ndarray:
    """Level with each other, far ahead of the rest: the hardest case."""
    return 0.6 + 0.3 * (np.arange(k) < 2)


def graded(k: int) -> np.ndarray:
    return np.linspace(0.5, 0.7, k)


CELLS = [
    *(pytest.param(k, n, 1000, id=f"{k} configurations, {n} seeds") for k in (2, 9) for n in (2, 3, 5)),
    *(pytest.param(54, n, 500, id=f"54 configurations, {n} seeds", marks=pytest.mark.slow) for n in (2, 3, 5)),
]


@pytest.mark.parametrize("k, seeds, sweeps", CELLS)
@pytest.mark.parametrize("means", [no_difference, two_leaders])
def test_false_leads_are_at_most_five_in_a_hundred(means: Callable[[int], np.ndarray], k: int, seeds: int, sweeps: int) -> None:
    rates = simulated(means(k), seeds, sweeps)
    assert rates.false <= 0.05 + rates.margin(0.05)
    assert rates.covered >= 0.95 - rates.margin(0.05)
    assert abs(rates.bias) < (0.005 if seeds > 2 else 0.01)
    assert rates.observed_bias > 0.008, "what is corrected is there"


@pytest.mark.parametrize("k, seeds, sweeps", CELLS)
@pytest.mark.parametrize("means", [one_leader, graded])
def test_the_contenders_hold_the_best(means: Callable[[int], np.ndarray], k: int, seeds: int, sweeps: int) -> None:
    rates = simulated(means(k), seeds, sweeps // 2, seed=1)
    assert rates.kept >= 0.95 - rates.margin(0.05)
    assert rates.false <= 0.05
    assert rates.covered >= 0.95 - rates.margin(0.05)
    assert abs(rates.bias) < (0.005 if seeds > 2 else 0.01)


@pytest.mark.parametrize("step", [0.01, 0.03])
def test_the_contenders_hold_a_best_that_is_barely_ahead(step: float) -> None:
    """A wrong claim and a set without the best are both mistakes; together they are at most five in a hundred."""
    rates = simulated(0.6 + step * (np.arange(9) == 0), 3, 1000, seed=2)
    assert rates.kept >= 0.95


@pytest.mark.parametrize(
    "k, seeds, power, sweeps",
    [(9, 3, 0.31, 1500), (9, 5, 0.68, 1500), pytest.param(54, 5, 0.42, 700, marks=pytest.mark.slow)],
)
def test_a_lead_of_a_tenth_is_found(k: int, seeds: int, power: float, sweeps: int) -> None:
    """As often as by a t test that knows the runner-up; a paired test of leader and runner-up alone finds 0.15, 0.47 and 0.29."""
    rates = simulated(one_leader(k), seeds, sweeps, seed=3)
    assert rates.found >= power - rates.margin(power) / 3 * 2


def spread_of(name: str, k: int) -> np.ndarray:
    number = np.arange(k)
    shapes = {"half": 1 + (number < k // 2), "one": 1 + 2 * (number == 0), "graded": np.exp(np.linspace(-0.7, 0.7, k))}
    return np.asarray(shapes[name], dtype=float)


@pytest.mark.parametrize("shape", ["half", "one", "graded"])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_unequal_noise_makes_no_false_leads(shape: str, seeds: int) -> None:
    rates = simulated(no_difference(9), seeds, 600, spread_of(shape, 9), seed=4)
    assert rates.false <= 0.05 + rates.margin(0.05)
    assert rates.kept >= 0.95


@pytest.mark.parametrize("seeds, times, most", [(3, 6, 0.1), (5, 3, 0.1), (5, 2, 0.15), (3, 2, 0.2)])
def test_leaders_that_are_noisier_than_the_rest(seeds: int, times: float, most: float) -> None:
    """Plainly noisier: their own noise is used. Twice as noisy at three seeds: cannot be seen, and there are more false leads."""
    rates = simulated(two_leaders(9), seeds, 800, 1 + (times - 1) * (np.arange(9) < 2), seed=5)
    assert rates.false <= most


def some_gone(rng: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """A sixth of the trials has no score, but each configuration has one."""
    gone = rng.random(scores.shape) < 1 / 6
    gone[gone.all(axis=1), 0] = False
    return np.where(gone, np.nan, scores)


def one_collapsed(rng: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """A trial of a configuration that does not lead has ended at a tenth."""
    scores[-1, rng.integers(scores.shape[1])] = 0.1
    return scores


@pytest.mark.parametrize("means", [no_difference, two_leaders])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_sweeps_with_trials_missing(means: Callable[[int], np.ndarray], seeds: int) -> None:
    rates = simulated(means(9), seeds, 300, missing=some_gone, seed=6)
    assert rates.false <= 0.05 + rates.margin(0.05)
    assert rates.kept >= 0.95


def test_a_trial_that_diverged_hides_no_lead_and_makes_none() -> None:
    assert simulated(one_leader(9), 5, 300, missing=one_collapsed, seed=7).found > 0.55
    rates = simulated(two_leaders(9), 3, 600, missing=one_collapsed, seed=7)
    assert rates.false <= 0.05 + rates.margin(0.05)


# --- the parts


def sweep(k: int, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.5 + rng.normal(0, 0.05, (k, 1)) + rng.normal(0, SEED_NOISE, n) + rng.normal(0, TRIAL_NOISE, (k, n))


def test_two_configurations_are_students_paired_test() -> None:
    scores = sweep(2, 5)
    found, paired = compare(scores), stats.ttest_rel(*scores[np.argsort(-scores.mean(1))])
    interval = paired.confidence_interval(0.95)
    assert found.lead is not None
    assert (found.lead.low, found.lead.high) == pytest.approx((interval.low, interval.high))
    assert found.separable == (paired.pvalue < 0.05)


def test_a_complete_sweep_has_plain_means_and_the_noise_of_a_two_way_layout() -> None:
    scores = sweep(6, 4)
    found = compare(scores)
    residual = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    assert found.means == pytest.approx(tuple(scores.mean(1)))
    assert (found.noise, found.freedom, found.seeds) == (pytest.approx(np.sqrt((residual**2).sum() / 15)), 15, 4)
    assert found.order == tuple(np.argsort(-scores.mean(1)))


def test_a_missing_trial_is_compared_at_the_seeds_there_are() -> None:
    """Noise apart, the seed that is missing would have been an easy one."""
    scores = np.array([0.5, 0.6, 0.7])[:, None] + np.array([0.0, 0.0, 0.2]) + 1e-6 * sweep(3, 3)
    scores[2, 2] = np.nan
    found = compare(scores)
    assert found.order == (2, 1, 0)
    assert found.means[2] - found.means[1] == pytest.approx(0.1, abs=1e-5)


def test_what_shares_no_seed_is_not_compared() -> None:
    scores = np.full((4, 5), np.nan)
    scores[:3, :3], scores[3, 3:] = sweep(3, 3), 0.9
    found, alone = compare(scores), compare(scores[:3, :3])
    assert 3 not in found.order and np.isnan(found.means[3]) and found.seeds == 3
    assert found.means[:3] == alone.means and found.lead == alone.lead


def test_one_seed_tells_a_difference_without_an_interval() -> None:
    found = compare(np.array([[0.5], [0.7], [0.4]]))
    assert found.lead is not None and found.lead.value == pytest.approx(0.2)
    assert (found.lead.low, found.separable, found.score, found.noise, found.more_seeds) == (None, False, None, None, None)
    assert found.order == found.contenders == (1, 0, 2)


def test_a_configuration_alone_and_none() -> None:
    found = compare(np.array([[0.5, 0.7, 0.6]]))
    low, high = stats.t.interval(0.95, 2, 0.6, stats.sem([0.5, 0.7, 0.6]))
    assert found.lead is None and found.score is not None
    assert (found.score.value, found.score.low, found.score.high) == pytest.approx((0.6, low, high))
    for nothing in (np.empty((0, 3)), np.array([[0.5], [np.nan]])):
        with pytest.raises(ValueError, match="needs a score"):
            compare(nothing)


def test_a_trial_that_diverged_is_left_out_like_one_that_failed() -> None:
    scores = sweep(9, 3)
    scores[4, 1], scores[7, 0] = -0.2, -0.1
    found = compare(scores)
    assert set(found.diverged) == {(4, 1), (7, 0)}
    scores[4, 1] = scores[7, 0] = np.nan
    assert found.means == compare(scores).means
    assert not compare(sweep(9, 3)).diverged


def test_a_noisier_configuration_is_compared_by_its_own_noise() -> None:
    scores = sweep(9, 5)
    calm = compare(scores)
    scores[4] += np.array([0.2, -0.2, 0.15, -0.15, 0.0])
    found = compare(scores)
    assert (found.noisy, found.diverged) == ((4,), ())
    assert found.noise == pytest.approx(calm.noise, rel=0.15), "it does not enter the pool"
    around = scores[4] - np.delete(scores, 4, 0).mean(0)
    assert found.errors is not None and found.errors[4] == pytest.approx(stats.sem(around), rel=0.01)


def test_critical_values_are_dunnetts() -> None:
    rng = np.random.default_rng(0)
    groups, control = [rng.normal(0.4, 1, 6) for _ in range(4)], rng.normal(0, 1, 6)
    found = stats.dunnett(*groups, control=control, alternative="greater", rng=rng)
    most = int(np.argmax(found.statistic))
    assert dunnett_quantile(4, 25, 0.5, 1 - found.pvalue[most]) == pytest.approx(found.statistic[most], abs=0.02)
    assert [dunnett_quantile(p, df, 0.5, 0.95) for p, df in ((3, 10), (5, 1e6), (9, 20))] == pytest.approx([2.34, 2.23, 2.60], abs=0.006)
    assert dunnett_quantile(7, 12, 0.0, 0.9) > dunnett_quantile(7, 12, 0.5, 0.9)


def test_more_seeds_have_the_power_that_is_said() -> None:
    scores = sweep(4, 3, seed=6)
    found = compare(scores)
    assert found.more_seeds is not None and found.lead is not None and found.noise is not None

    def power(n: int) -> float:
        df = 3 * (n - 1)
        return float(1 - stats.nct.cdf(stats.t.ppf(0.975, df), df, found.lead.value / (found.noise * np.sqrt(2 / n))))

    assert power(3 + found.more_seeds) >= 0.8 > power(2 + found.more_seeds)


def test_the_corrected_score_is_what_drawn_noise_gives() -> None:
    means, errors = np.array([0.70, 0.69, 0.66, 0.40]), np.array([0.03, 0.02, 0.03, 0.03])
    noise = np.random.default_rng(0).normal(size=(400_000, 4)) * errors
    chosen = (means + 0.3 * noise).argmax(1)
    drawn = (means - noise / 0.3)[np.arange(len(noise)), chosen]
    assert selected_mean(means, errors) == pytest.approx(drawn.mean(), abs=4 * drawn.std() / len(drawn) ** 0.5)
    assert selected_mean(np.array([0.9, 0.1]), errors[:2]) == pytest.approx(0.9)


# --- effects of settings


def grid(ranks: str = "abc", rates: str = "xyz") -> list[dict[str, str]]:
    return [{"rank": rank, "lr": rate} for rank, rate in itertools.product(ranks, rates)]


def test_main_effects_of_a_whole_grid_are_differences_of_marginal_means() -> None:
    scores, settings = sweep(9, 3), grid()
    scores[:3] += 0.2
    rank, rate, both = effects(scores, settings)
    marginal = scores.reshape(3, 3, 3).mean((1, 2))
    assert rank.settings == ("rank",) and rank.plain and rank.contrast.startswith("a over ")
    assert [level.mean for level in rank.levels] == pytest.approx(marginal)
    assert [level.trials for level in rank.levels] == [9, 9, 9]
    assert rank.difference.value == pytest.approx(np.ptp(marginal))
    noise = compare(scores).noise
    assert noise is not None and rank.difference.low is not None
    half = stats.studentized_range.ppf(0.975, 3, 16) * noise / 3
    assert rank.difference.value - rank.difference.low == pytest.approx(half, rel=1e-4)
    assert (rate.settings, both.settings) == (("lr",), ("rank", "lr"))


def test_an_interaction_is_a_difference_of_differences() -> None:
    scores = sweep(4, 4, seed=1)
    scores[0] += 0.4
    *_, both = effects(scores, grid("ab", "xy"))
    cells = scores.mean(1)
    assert both.contrast == "x over y, more at a than at b" and both.plain
    assert both.difference.value == pytest.approx(cells[0] - cells[1] - cells[2] + cells[3])
    noise = compare(scores).noise
    assert noise is not None and both.difference.high is not None
    assert both.difference.high - both.difference.value == pytest.approx(stats.t.ppf(0.975, 9) * noise)


def test_effects_of_a_grid_with_holes_are_not_confounded() -> None:
    """The cells that are gone are those that would make rank look good."""
    settings = grid()
    truth = np.array([0.3 * (s["lr"] == "x") for s in settings])
    scores = truth[:, None] + 1e-3 * sweep(9, 3)
    held = [i for i, s in enumerate(settings) if s not in ({"rank": "b", "lr": "x"}, {"rank": "c", "lr": "x"})]
    rank, rate, _ = effects(scores[held], [settings[i] for i in held])
    assert abs(rank.difference.value) < 0.01
    assert rate.difference.value == pytest.approx(0.3, abs=0.01)


def test_settings_that_vary_together_are_one_and_what_cannot_be_reported_is_left_out() -> None:
    settings = [{"rank": r, "alpha": a, "lr": lr} for (r, a), lr in itertools.product((("1", "2"), ("4", "8")), "xy")]
    assert [e.settings for e in effects(sweep(4, 3), settings)] == [("rank with alpha",), ("lr",), ("rank with alpha", "lr")]
    confounded = [{"a": "0", "b": "0"}, {"a": "1", "b": "1"}, {"a": "0", "b": "2"}]
    assert [e.settings for e in effects(sweep(3, 3), confounded)] == []


def test_one_seed_has_effects_without_intervals() -> None:
    found = effects(sweep(9, 1), grid())
    assert len(found) == 3 and all(e.difference.low is None and not e.plain for e in found)


def test_effects_that_are_none_are_seldom_plain() -> None:
    rng = np.random.default_rng(8)
    plain = np.zeros(2)
    for _ in range(400):
        found = effects(rng.normal(0, SEED_NOISE, 3) + rng.normal(0, TRIAL_NOISE, (9, 3)), grid())
        plain += any(e.plain for e in found[:2]), found[2].plain
    assert (plain / 400 <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5).all()


def test_the_comparison_needs_no_torch_and_no_more_of_scipy_than_its_special_functions() -> None:
    code = (
        "import sys, numpy as np; from pathsynth.metrics.comparison import compare; print('scipy' in sys.modules);"
        "compare(np.random.default_rng(0).normal(size=(9, 3)));"
        "print(sorted({'torch', 'scipy.stats', 'scipy.optimize', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "[]"]
